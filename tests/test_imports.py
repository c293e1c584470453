"""Which package imports which: read from the source, and proved in a fresh process."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each part may import those before it, and itself; `predictors` is open to the later ones.
ORDER = (
    "errors",
    "notation",
    "durable",
    "locks",
    "models",
    "space",
    "corpus",
    "teacher",
    "profiler",
    "distill",
    "export",
    "study",
    "report",
    "search",
)
USES_PREDICTORS = ("profiler", "search")
HEAVY = ("jax", "jaxlib", "flax", "optax", "autodistill", "grain", "tokenizers")
SLOW = ("sklearn", "scipy", "pandas", "pymoo", "xgboost", "plotly")
COMMANDS = (
    "autodistill.distill",
    "autodistill.profiler",
    "autodistill.search",
    "autodistill.teacher",
    "predictors",
)
LAZY = (
    "autodistill.corpus",
    "autodistill.models",
    "autodistill.profiler",
    "autodistill.search",
    "autodistill.space",
    "autodistill.study",
    "autodistill.teacher",
    "predictors",
)


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of all that a module imports, wherever in the file it does so."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            assert node.module is not None
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_command(path: Path) -> bool:
    """Commands put the parts together: they may import any, and no module imports them."""
    return path.name == "__main__.py"


def part(name: str) -> str:
    """``autodistill.search.run`` belongs to ``search``."""
    return name.split(".")[1]


@pytest.mark.parametrize("path", modules("autodistill"), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    inside = path.relative_to(ROOT / "autodistill")
    if len(inside.parts) == 1 and path.stem == "__init__":
        own = -1  # the package itself imports none of its parts
    elif is_command(path):
        own = len(ORDER) - 1
    else:
        own = ORDER.index(inside.parts[0].removesuffix(".py"))
    for name in imported(path):
        if name.startswith("autodistill.") and part(name) != "__version__":
            assert ORDER.index(part(name)) <= own, f"{inside} imports {name}"
            assert "__main__" not in name.split("."), f"{inside} imports the command {name}"
        if name.split(".")[0] == "predictors":
            assert ORDER[own] in USES_PREDICTORS, f"{inside} imports {name}"
        assert name.split(".")[0] not in ("tests", "benchmarks"), f"{inside} imports {name}"


def test_imports_the_order_is_that_of_the_architecture_page() -> None:
    text = " ".join((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split())
    assert " <- ".join(ORDER) in text


@pytest.mark.parametrize("path", modules("predictors"), ids=lambda p: p.name)
def test_imports_predictors_know_nothing_of_autodistill(path: Path) -> None:
    assert {name.split(".")[0] for name in imported(path)}.isdisjoint(HEAVY)


def loaded(code: str) -> str:
    """Which heavy packages a fresh process has loaded after this."""
    report = f"\nimport sys\nprint(*sorted(set(sys.modules) & set({(*HEAVY, *SLOW)!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code + report], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.strip()


def test_imports_predictors_load_neither_jax_nor_autodistill() -> None:
    names = loaded("from predictors import *\nimport predictors.commands").split()
    assert "sklearn" in names
    assert set(names).isdisjoint(HEAVY)


@pytest.mark.parametrize("command", COMMANDS)
def test_imports_a_command_shows_its_help_before_it_loads_anything_slow(command: str) -> None:
    code = f"""
import contextlib, io
from {command}.__main__ import main
with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
    main(["--help"])
assert "python -m {command}" in said.getvalue(), said.getvalue()"""
    assert loaded(code) in ("", "autodistill")


@pytest.mark.parametrize("package", LAZY)
def test_imports_every_name_that_a_package_offers_is_there(package: str) -> None:
    module = importlib.import_module(package)
    stub = Path(module.__file__ or "").with_suffix(".pyi").read_text(encoding="utf-8")
    [listed] = [n.value for n in ast.parse(stub).body if isinstance(n, ast.Assign)]
    assert sorted(module.__all__) == sorted(ast.literal_eval(listed))
    for name in module.__all__:
        assert getattr(module, name) is not None
