"""The package as a whole: what it imports, what it offers, its examples."""

import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import predictors

MODULES = [f"predictors.{module.name}" for module in pkgutil.iter_modules(predictors.__path__)]


def test_import_stands_alone():
    """A fresh interpreter: this one may have loaded anything already."""
    code = (
        "import sys, predictors, predictors.__main__\n"
        "bad = {'jax', 'jaxlib', 'flax', 'autodistill'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    root = Path(predictors.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_exported_name_exists():
    assert sorted(predictors.__all__) == sorted(set(predictors.__all__))
    for name in predictors.__all__:
        assert getattr(predictors, name) is not None


def test_errors_are_one_family():
    for error in (predictors.TableError, predictors.PersistError, predictors.InputError):
        assert issubclass(error, predictors.PredictorError)
    assert issubclass(predictors.InputError, ValueError)


@pytest.mark.parametrize("name", ["predictors", *MODULES])
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
