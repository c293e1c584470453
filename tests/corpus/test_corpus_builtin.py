"""The built-in English: what is taken, what is dropped, and that it repeats nothing."""

import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from autodistill.corpus import Document, builtin, builtin_documents, builtin_fingerprint
from autodistill.errors import CorpusError

Read = Callable[[dict[str, str]], list[Document]]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Read a package made of the given files, and nothing else."""

    def read_files(files: dict[str, str]) -> list[Document]:
        for name, source in files.items():
            path = tmp_path / "package" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source), "utf-8")
        root = builtin._Root("package", tmp_path / "package", "1.0")
        monkeypatch.setattr(builtin, "_roots", lambda: [root])
        monkeypatch.setattr(builtin, "_topics", lambda: iter(()))
        return builtin_documents()

    return read_files


def test_one_document_per_file_with_all_docstrings_in_reading_order(read: Read) -> None:
    documents = read(
        {
            "first.py": '''
                """The module."""
                raise SystemExit("parsed, never imported")
                class A:
                    """The class."""
                    def method(self):
                        """The method."""
                        def inner():
                            """The inner function."""
                if True:
                    async def late():
                        """The late function."""
                "not a docstring"
                ''',
            "inner/second.py": '"""Another module."""',
            "bare.py": "x = '''no docstring at all'''",
        }
    )
    assert documents == [
        Document(
            "package/first.py",
            "The module.\n\nThe class.\n\nThe method.\n\nThe inner function.\n\nThe late function.",
            "package",
        ),
        Document("package/inner/second.py", "Another module.", "package"),
    ]


def test_tests_and_broken_files_are_passed_over(read: Read) -> None:
    documents = read(
        {
            "good.py": '"""Kept."""',
            "test_good.py": '"""A test."""',
            "tests/helper.py": '"""A helper of tests."""',
            "broken.py": '"""Never closed',
            "python2.py": '"""Old."""\nprint "x"',
        }
    )
    assert [document.text for document in documents] == ["Kept."]


def test_a_repeated_paragraph_or_parameter_stays_where_it_came_first(read: Read) -> None:
    source = '''
        """{title}

        The same paragraph,
        on two lines.

        axis : int
            Along which to go.
        {parameter} : float
            Only here.
        """
        '''
    first, second = read(
        {
            "a.py": source.format(title="One.", parameter="low"),
            "b.py": source.format(title="Two.", parameter="high"),
        }
    )
    assert first.text.split("\n\n") == [
        "One.",
        "The same paragraph, on two lines.",
        "axis : int Along which to go.",
        "low : float Only here.",
    ]
    assert second.text.split("\n\n") == ["Two.", "high : float Only here."]


def test_code_formulas_and_markup_go_and_the_words_stay(read: Read) -> None:
    (document,) = read(
        {
            "a.py": r'''
                """Return the :func:`~numpy.mean` of ``values`` [1]_.

                .. math::

                    \\sum_i x_i

                Examples
                --------
                See `the guide <https://example.org>`_ first.

                >>> mean([1, 2])
                1.5
                >>> for x in y:
                ...     pass

                .. note:: This stays.

                Wait ... and see.
                """
                '''
        }
    )
    assert document.text.split("\n\n") == [
        "Return the numpy.mean of values.",
        "Examples",
        "See the guide first.",
        "This stays.",
        "Wait ... and see.",
    ]


def test_nothing_found_is_an_error(tmp_path: Path, read: Read) -> None:
    (tmp_path / "package").mkdir()
    with pytest.raises(CorpusError, match="found neither help topics nor source files"):
        read({})


def test_python_alone_gives_much_distinct_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard library is on every machine, so this part of the corpus is always there."""
    monkeypatch.setattr(builtin, "PACKAGES", {})
    shares: list[float] = []
    documents = builtin_documents(lambda message, share: shares.append(share))
    assert shares == sorted(shares) and min(shares) >= 0.0 and max(shares) <= 1.0
    assert len(documents) > 300
    assert sum(len(document.text) for document in documents) > 1_000_000
    names = [document.name for document in documents]
    assert len(set(names)) == len(names)
    paragraphs = [p for document in documents for p in document.text.split("\n\n")]
    assert len(set(paragraphs)) == len(paragraphs)
    assert all(document.text.strip() for document in documents)
    texts = {document.name: document.text for document in documents}
    # Another route to the same words: the imported function's own docstring.
    first_line = (inspect.getdoc(textwrap.wrap) or "").splitlines()[0]
    assert first_line in texts["standard library/textwrap.py"]
    assert "python topics/assert" in texts


def test_reading_twice_gives_the_same(read: Read) -> None:
    files = {f"m{number}.py": f'"""Module {number}."""' for number in range(20)}
    assert read(files) == read(files)


def test_fingerprint_names_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy

    before = builtin_fingerprint()
    assert f"numpy={numpy.__version__}" in before
    assert builtin_fingerprint() == before
    monkeypatch.setattr(builtin, "BUILTIN_VERSION", builtin.BUILTIN_VERSION + 1)
    assert builtin_fingerprint() != before
