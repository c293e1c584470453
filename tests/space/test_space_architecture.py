"""An architecture is a value: equal, hashed and named alike everywhere."""

import copy
import hashlib
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from autodistill.errors import SpaceError
from autodistill.space import Architecture

VALUES = {"num_hidden_layers": 4, "hidden_act": "relu", "rate": 0.5, "bias": True}


def test_it_is_a_mapping_in_alphabetical_order():
    architecture = Architecture(VALUES)
    assert list(architecture) == ["bias", "hidden_act", "num_hidden_layers", "rate"]
    assert dict(architecture) == architecture.to_dict() == VALUES
    assert len(architecture) == 4
    assert architecture["rate"] == 0.5
    assert "bias" in architecture
    with pytest.raises(KeyError):
        architecture["width"]


def test_the_order_of_fields_does_not_matter():
    backwards = Architecture(dict(reversed(VALUES.items())))
    assert backwards == Architecture(**VALUES)
    assert hash(backwards) == hash(Architecture(VALUES))
    assert backwards.id == Architecture(VALUES).id
    assert Architecture({"a": 1}, b=2) == Architecture(a=1, b=2)


@pytest.mark.parametrize(
    "other",
    [{"a": 2}, {"b": 1}, {"a": 1, "b": 1}, {"a": True}, {"a": "1"}, {"a": 1.5}],
)
def test_different_architectures_differ(other):
    one = Architecture(a=1)
    assert one != Architecture(other)
    assert one.id != Architecture(other).id
    assert len({one, Architecture(other)}) == 2


def test_an_architecture_is_not_a_dictionary():
    assert Architecture(a=1) != {"a": 1}


def test_equal_values_of_any_type_are_one_architecture():
    one = Architecture(n=8, rate=0.5, bias=True, act="relu")
    same = Architecture(
        n=np.int32(8), rate=np.float64(0.5), bias=np.bool_(True), act=np.str_("relu")
    )
    assert same == one
    assert same == Architecture(one, n=8.0)
    assert same.id == one.id == Architecture(one, n=8.0).id
    assert [type(value) for value in same.values()] == [str, bool, int, float]


def test_true_is_not_one():
    assert Architecture(a=True) != Architecture(a=1)
    assert Architecture(a=False).id != Architecture(a=0).id


def test_the_id_is_the_digest_of_its_json():
    """Ids name folders and rows for ever, so their recipe is fixed here."""
    text = json.dumps(VALUES, sort_keys=True)
    assert Architecture(VALUES).id == hashlib.sha256(text.encode()).hexdigest()[:10]
    assert Architecture(num_hidden_layers=4, hidden_size=256).id == "370680a408"


def test_it_cannot_be_changed():
    architecture = Architecture(VALUES)
    with pytest.raises(TypeError):
        architecture["rate"] = 0.1
    with pytest.raises(TypeError):
        del architecture["rate"]
    with pytest.raises(AttributeError):
        architecture.rate = 0.1
    architecture.to_dict()["rate"] = 0.1
    given = dict(VALUES)
    kept = Architecture(given)
    given["rate"] = 0.1
    assert kept == architecture == Architecture(VALUES)


def test_copies_are_equal():
    architecture = Architecture(VALUES)
    for other in (copy.copy(architecture), copy.deepcopy(architecture)):
        assert other == architecture
        assert hash(other) == hash(architecture)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "needs at least one field; got none"),
        ({}, "needs at least one field; got none"),
        ({"a": None}, "numbers, strings or booleans; got 'a': None (NoneType)"),
        ({"a": [1]}, "numbers, strings or booleans; got 'a': [1] (list)"),
        ({"a": np.arange(2)}, "numbers, strings or booleans; got 'a'"),
        ({"a": 1j}, "numbers, strings or booleans; got 'a': 1j (complex)"),
        ({1: 2, "a": 3}, "maps names to numbers"),
        ({"a": float("nan")}, "a must be finite; got nan"),
        ({"a": np.float32("inf")}, "a must be finite; got inf"),
    ],
)
def test_bad_values_are_named(values, message):
    with pytest.raises(SpaceError) as caught:
        Architecture(values)
    assert message in str(caught.value)


# Written by a process with another hash seed: what must not depend on it.
OTHER_PROCESS = """
import json, pickle, sys
import numpy as np
from autodistill.space import Architecture, SearchSpace
space = SearchSpace({"a": [1, 2, 3], "b": ["x", "y", "z"], "c": [False, True]})
seen = set(space.sample(5, np.random.default_rng(0)))
drawn = space.sample_distinct(6, np.random.default_rng(1), exclude=list(space.enumerate())[:3])
print(json.dumps([
    repr(drawn), [a.id for a in drawn], space.encode(drawn).tolist(),
    sorted(a.id for a in seen), pickle.dumps(drawn).hex(),
]))
"""


def test_nothing_depends_on_the_hash_seed_of_the_process():
    outputs = [
        subprocess.run(
            [sys.executable, "-c", OTHER_PROCESS],
            env={"PYTHONHASHSEED": seed, "PATH": "", "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    first, second = (json.loads(output) for output in outputs)
    assert first == second
    drawn = pickle.loads(bytes.fromhex(first[-1]))
    # A hash kept from the other process would not be found among those of this one.
    assert {Architecture(a.to_dict()) for a in drawn} == set(drawn)
    assert [a.id for a in drawn] == first[1]
