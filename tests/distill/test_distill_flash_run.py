"""A short run is the beginning of a long one, and one that was kept goes on as if it had not."""

import jax
import numpy as np
import pytest

from autodistill.models.config import MobileBertConfig

STUDENT = MobileBertConfig(
    num_hidden_layers=2,
    hidden_size=32,
    num_attention_heads=2,
    intermediate_size=32,
    intra_bottleneck_size=16,
    embedding_size=16,
    num_feedforward_networks=1,
    vocab_size=60,
    max_position_embeddings=32,
)


def leaves(params) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(params)]


@pytest.fixture(scope="module")
def begun(make_distiller):
    """A student's program, its run, and what the run began with; compiled once for all."""
    program, run = make_distiller().begin(STUDENT)
    return program, run, run.arrays()


@pytest.fixture
def run(begun):
    """The same run, at its start."""
    _, run, start = begun
    run.restore(0, start)
    return run


def test_run_in_two_parts_is_the_run_in_one(run, begun):
    run.advance(3)
    middle = run.params()
    at_three = leaves(middle)
    run.advance(7)
    parts = leaves(run.params())
    assert run.steps == len(run.losses) == 7
    run.restore(0, begun[2])
    run.advance(7)
    for a, b in zip(parts, leaves(run.params()), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(at_three, parts, strict=True))
    # steps take the buffers of their input: what ``params`` gave is a copy
    for a, b in zip(at_three, leaves(middle), strict=True):
        np.testing.assert_array_equal(a, b)


def test_restored_run_goes_on_bit_for_bit(run):
    run.advance(4)
    kept = run.arrays()
    run.advance(6)
    expected = leaves(run.params())
    run.advance(8)
    run.restore(4, kept)
    assert (run.steps, run.losses) == (4, [])
    run.advance(6)
    for a, b in zip(expected, leaves(run.params()), strict=True):
        np.testing.assert_array_equal(a, b)


def test_short_distillation_is_a_stop_of_a_long_one(make_distiller, begun, run):
    run.advance(5)
    stopped = begun[0].finished(run.params()).weights
    short = make_distiller(steps=5).distil(STUDENT).student.weights
    for name, value in short.items():
        np.testing.assert_array_equal(value, stopped[name], err_msg=name)
