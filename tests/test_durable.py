"""Files are there whole or not at all."""

import os

import pytest

from autodistill.durable import draft_of, is_draft_of, write_whole


@pytest.mark.parametrize("content", ["text\n", b"\x00\xff"])
def test_a_file_is_replaced_whole(content, tmp_path):
    path = tmp_path / "a.json"
    path.write_text("an older and longer one")
    write_whole(path, content)
    assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_where_the_disk_refuses_the_older_file_stays(step, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.json"
    path.write_text("older")
    monkeypatch.setattr(os, step, full)
    if step == "replace":  # pathlib's goes to the system itself
        monkeypatch.setattr(type(path), "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "newer")
    assert path.read_text() == "older" and list(tmp_path.iterdir()) == [path]


def test_it_is_on_the_disk_before_it_has_its_name_and_then_the_name(tmp_path, monkeypatch):
    forced, fsync = [], os.fsync

    def noted(opened):
        forced.append((os.readlink(f"/proc/self/fd/{opened}"), (tmp_path / "a").exists()))
        fsync(opened)

    monkeypatch.setattr(os, "fsync", noted)
    write_whole(tmp_path / "a", "text")
    assert forced == [(str(draft_of(tmp_path / "a")), False), (str(tmp_path), True)]


def test_drafts_are_told_from_other_files(tmp_path):
    path = tmp_path / "run.json"
    assert is_draft_of(draft_of(path), path) and is_draft_of(tmp_path / ".run.json.7.tmp", path)
    for other in (path, tmp_path / ".other.json.7.tmp", tmp_path / "run.json.tmp"):
        assert not is_draft_of(other, path)
    assert not is_draft_of(tmp_path / "deeper" / ".run.json.7.tmp", path)
