"""The package as a whole: its errors, its examples."""

import doctest
import importlib
import pkgutil

import pytest

import predictors

MODULES = [f"predictors.{module.name}" for module in pkgutil.iter_modules(predictors.__path__)]


def test_errors_are_one_family():
    for error in (predictors.TableError, predictors.PersistError, predictors.InputError):
        assert issubclass(error, predictors.PredictorError)
    assert issubclass(predictors.InputError, ValueError)


@pytest.mark.parametrize("name", ["predictors", *MODULES])
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
