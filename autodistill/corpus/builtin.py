"""English that every Python machine carries: the documentation of its own code.

The text is Python's help topics (``pydoc_data.topics``) and the docstrings of
the standard library and of installed scientific packages. No package is
imported: its files are parsed. One document is one help topic, or all the
docstrings of one source file, so a held-out document is a whole module.

Docstrings repeat each other. A paragraph, or a parameter's description, that an
earlier document holds word for word is dropped, so that held-out text is no copy
of training text.
"""

import ast
import contextlib
import dataclasses
import gc
import hashlib
import importlib.metadata
import importlib.util
import inspect
import os
import platform
import re
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from autodistill.corpus.document import Document
from autodistill.errors import CorpusError

BUILTIN_VERSION = 1  # raise this when the text below changes for the same packages

# Import name -> distribution name. Read in this order, those that are installed.
PACKAGES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "jax": "jax",
    "flax": "flax",
    "optax": "optax",
    "matplotlib": "matplotlib",
    "orbax": "orbax-checkpoint",
    "grain": "grain",
    "pymoo": "pymoo",
}

# Test code holds little prose; lib2to3 and site-packages are not the standard library.
_SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "testing", "_testing", "idle_test", "lib2to3", "site-packages",
     "dist-packages", "__pycache__", "_vendor", "externals", "pydoc_data"}
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Root:
    """A folder of Python files, the name that its documents begin with, and its version."""

    name: str
    folder: Path
    version: str


def builtin_documents(progress: Callable[[str, float], None] | None = None) -> list[Document]:
    """Read the built-in English: about ten seconds and four million tokens.

    Cycle collection is paused meanwhile.

    Args:
        progress: Called with a message and the share done, between 0 and 1.

    Returns:
        Documents without repeated paragraphs, none of them empty, in an order
        fixed by the Python version and the package versions.

    Raises:
        CorpusError: No documentation was found, as when Python is packed without
            its sources.
    """
    seen: set[bytes] = set()
    documents = []
    roots = _roots()
    texts = [("python topics", _topics()), *((root.name, _modules(root)) for root in roots)]
    with _without_collector():
        for number, (source, named_blocks) in enumerate(texts):
            if progress is not None:
                progress(f"reading {source}", number / len(texts))
            for name, blocks in named_blocks:
                text = "\n\n".join(_without_repeats(blocks, seen))
                if text:
                    documents.append(Document(name, text, source))
    if not documents:
        raise CorpusError(
            "expected Python's own documentation on this machine; found neither help topics nor "
            "source files. Pass text of your own"
        )
    return documents


def builtin_fingerprint() -> str:
    """Say which built-in text this machine has: equal strings, equal documents."""
    roots = (f"{root.name}={root.version}" for root in _roots())
    return f"builtin={BUILTIN_VERSION} python={platform.python_version()} {' '.join(roots)}"


def _roots() -> list[_Root]:
    """Find the standard library and the packages, without importing any."""
    roots = []
    standard = Path(sysconfig.get_paths()["stdlib"])
    if standard.is_dir():
        roots.append(_Root("standard library", standard, platform.python_version()))
    for name, distribution in PACKAGES.items():
        try:
            version = importlib.metadata.version(distribution)
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):  # not installed, or a stub of a module
            continue
        if spec is not None and spec.submodule_search_locations:
            roots.append(_Root(name, Path(next(iter(spec.submodule_search_locations))), version))
    return roots


def _topics() -> Iterator[tuple[str, Iterator[str]]]:
    """Yield (document name, blocks) of each of Python's help topics."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        return
    for name in sorted(topics):
        yield f"python topics/{name}", _blocks(_prose(topics[name]))


def _modules(root: _Root) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield (document name, blocks) of each source file under ``root``."""
    for folder, folders, files in os.walk(root.folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
        for file in sorted(files):
            if file.endswith(".py") and not file.startswith("test_"):
                path = Path(folder, file)
                name = f"{root.name}/{path.relative_to(root.folder).as_posix()}"
                yield name, _file_blocks(path)


def _file_blocks(path: Path) -> Iterator[str]:
    for docstring in _docstrings(path):
        yield from _blocks(_prose(docstring))


def _docstrings(path: Path) -> list[str]:
    """Take the docstrings of one file, in reading order; none if it does not parse."""
    try:
        source = path.read_bytes()
    except OSError:
        return []
    if b'"""' not in source and b"'''" not in source:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return []
    found: list[str] = []
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                found.append(inspect.cleandoc(docstring))
        inner = [
            child
            for child in ast.iter_child_nodes(node)
            if isinstance(
                child,
                (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.If, ast.Try, ast.With),
            )
        ]
        pending.extend(reversed(inner))
    return found


_RULE = re.compile(r"\s*([-=~^\"*+#_.`'])\1{2,}\s*$|\s*[-=+|: ]*(-{3,}|={3,})[-=+|: ]*$")
_DIRECTIVE = re.compile(r"\s*\.\. +[\w:-]+::(?!\S)")
_CODE_DIRECTIVE = re.compile(
    r"\s*\.\. +(math|plot|ipython|code|code-block|sourcecode|doctest|testcode|testsetup|testoutput|"
    r"autosummary|toctree|currentmodule|autofunction|autoclass|automodule|image|figure|index|"
    r"highlight|csv-table|list-table|table|productionlist|grammar-snippet|minigallery|deprecated|"
    r"versionadded|versionchanged|only|include|rubric|autodata|autoattribute|automethod)::"
)
_ROLE = re.compile(r":[A-Za-z][\w:+.-]*:`[~!]?([^`<]*?)\s*(?:<[^`>]*>)?`")
_FOOTNOTE = re.compile(r" ?\[[\w*#.]+\]_(?!\w)")
_LINK = re.compile(r"`([^`<]+?)\s*<[^`>]*>`_{1,2}")


def _prose(text: str) -> str:
    """Drop what is not English: doctests with their output, code and formulas, rules.

    Roles, links and backticks go too, and leave the words they mark.
    """
    kept: list[str] = []
    in_doctest = False
    code_indent = -1  # the indent of the directive whose body is being dropped, or -1
    for line in text.expandtabs().splitlines():
        stripped = line.lstrip()
        if not stripped:
            in_doctest = False
            kept.append("")
            continue
        indent = len(line) - len(stripped)
        if code_indent >= 0:
            if indent > code_indent:
                continue
            code_indent = -1
        if _CODE_DIRECTIVE.match(line):
            code_indent = indent
            continue
        if in_doctest or stripped.startswith((">>>", "In [")):
            in_doctest = True
            continue
        if stripped.startswith("..."):
            continue
        if _RULE.match(line):
            kept.append("")  # parts a heading from its text
            continue
        if stripped.startswith(".. "):
            line = _DIRECTIVE.sub("", line, count=1).replace(".. ", "", 1)
        kept.append(line.rstrip())
    prose = _ROLE.sub(r"\1", "\n".join(kept))
    return _FOOTNOTE.sub("", _LINK.sub(r"\1", prose)).replace("`", "")


def _blocks(prose: str) -> Iterator[str]:
    """Cut prose at blank lines, and before each entry of a list of parameters.

    An entry is a line followed by lines that are indented deeper.
    """
    for paragraph in re.split(r"\n\s*\n", prose):
        block: list[str] = []
        lines = [line for line in paragraph.split("\n") if line.strip()]
        for number, line in enumerate(lines):
            follower = lines[number + 1] if number + 1 < len(lines) else line
            opens = _indent(follower) > _indent(line)
            closes = bool(block) and _indent(line) < _indent(block[-1])
            if block and (opens or closes):
                yield "\n".join(block)
                block = []
            block.append(line)
        if block:
            yield "\n".join(block)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _without_repeats(blocks: Iterator[str], seen: set[bytes]) -> Iterator[str]:
    """Yield the blocks that no earlier one equals but for spaces; adds them to ``seen``."""
    for block in blocks:
        words = " ".join(block.split())
        digest = hashlib.blake2b(words.encode("utf-8", "replace"), digest_size=16).digest()
        if words and digest not in seen:
            seen.add(digest)
            yield words


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Pause the cycle collector: syntax trees have no cycles, and tracing them doubles the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
