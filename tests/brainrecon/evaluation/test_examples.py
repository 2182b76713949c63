"""The examples in docstrings do what they say."""

import doctest
import pkgutil
from importlib import import_module

import pytest

import brainrecon.evaluation

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(brainrecon.evaluation.__path__, "brainrecon.evaluation.")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_stands_below_them(name):
    found = doctest.testmod(import_module(name), extraglobs={"np": import_module("numpy")})
    assert found.failed == 0
