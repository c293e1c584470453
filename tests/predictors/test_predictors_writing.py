"""Where predictors and tables are written: links, devices, pipes, and places to refuse early."""

import os
import stat
import threading

import numpy as np
import pytest

from predictors import GPPredictor, PersistError, load
from predictors import __main__ as command
from predictors.__main__ import main
from predictors.document import check_destination
from predictors.writing import check_writable, write_whole


def model():
    X = np.arange(12.0).reshape(6, 2)
    return GPPredictor().fit(X, X[:, 0] + 1)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "kept").mkdir()
    target, link = tmp_path / "kept" / "p.json", tmp_path / "link.json"
    for _ in range(2):  # to a file that is yet to be, and to one that is there
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        model().save(link)
        assert link.is_symlink() and target.is_file()
        assert load(link).n_features_in_ == 2
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["kept", "link.json", "p.json"]


def test_a_device_is_written_to_and_stays(tmp_path):
    null = tmp_path / "null"
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        with open(null, "wb"):
            pass
    except PermissionError:
        pytest.skip("a device can be made by root alone")
    model().save(null)
    assert stat.S_ISCHR(null.stat().st_mode)
    assert list(tmp_path.iterdir()) == [null]


def test_a_pipe_is_written_to(tmp_path):
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()), daemon=True)
    reader.start()
    model().save(pipe)
    reader.join(timeout=30)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    model().save(tmp_path / "p.json")
    assert found == [(tmp_path / "p.json").read_text()]


def test_a_file_that_is_there_is_replaced_whole(tmp_path):
    path = tmp_path / ("n" * 250)  # a name so long that no other could be made of it
    write_whole(path, "a longer text\n")
    write_whole(path, "short\n")
    assert path.read_text() == "short\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("n" * 300, "File name too long"),
        ("none/p.json", "No such file or directory"),
        ("file/p.json", "Not a directory"),
        ("", "No such file or directory"),
        ("folder", "it is a folder"),
        ("loop", "symbolic links"),
        ("a\0b", "null byte"),
    ],
)
def test_places_that_cannot_be_written_to(tmp_path, name, message):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    path = f"{tmp_path}/{name}" if name else ""
    with pytest.raises(PersistError, match=f"cannot write predictor file .*{message}"):
        model().save(path)
    with pytest.raises(PersistError, match=f"cannot write predictor file .*{message}"):
        check_destination(path)


def test_a_folder_that_may_not_be_searched(tmp_path, monkeypatch):
    """As anyone but root sees it; ``os.stat`` is what asks."""
    real = os.stat

    def refuse(path, *arguments, **options):
        if str(path).endswith("p.json"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    fitted = model()
    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(PersistError, match=r"cannot write .*p\.json: Permission denied"):
        fitted.save(tmp_path / "p.json")


def test_a_folder_that_may_not_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path))
    with pytest.raises(PermissionError):
        check_writable(tmp_path / "p.json")
    (tmp_path / "t.csv").touch()  # would be replaced by a new file
    with pytest.raises(PermissionError):
        check_writable(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "none.csv"],
        ["adapt", "--sources", "none.csv", "--measurements", "none.csv"],
        ["suggest", "--sources", "none.csv"],
        ["predict", "none.json", "none.csv"],
        ["score", "none.json", "none.csv"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_destination_is_checked_before_anything_is_read(arguments, tmp_path, capsys):
    """The inputs are missing too, and would be named had they been looked for first."""
    option = "--plot" if arguments[0] == "score" else "--out"
    assert main([*arguments, option, str(tmp_path / "none" / "o")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: cannot write") and "No such file or directory" in error
    assert "none.csv" not in error and "none.json" not in error
    assert command.main([*arguments, option, str(tmp_path)]) == 2
    assert "it is a folder" in capsys.readouterr().err
