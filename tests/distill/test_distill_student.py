"""The student as a program: what it counts, hands over, and computes in blocks."""

from collections.abc import Callable

import jax
import numpy as np
import pytest

from autodistill.distill.blocks import in_blocks
from autodistill.distill.flash import FlashDistiller
from autodistill.distill.start import random_weights
from autodistill.distill.student import Student, StudentProgram
from autodistill.models.checkpoint import build_encoder
from autodistill.models.config import BertConfig, EncoderConfig, MobileBertConfig

SIZES = {"vocab_size": 60, "max_position_embeddings": 32}
MOBILE = MobileBertConfig(
    num_hidden_layers=2,
    hidden_size=24,
    num_attention_heads=2,
    intermediate_size=20,
    embedding_size=12,
    intra_bottleneck_size=16,
    num_feedforward_networks=2,
    **SIZES,
)
BERT = BertConfig(2, 24, 2, 40, **SIZES)


def output_layer(width: int) -> dict[str, jax.Array]:
    rng = np.random.default_rng(5)
    kernel = rng.standard_normal((24, width)).astype(np.float32)
    return {"kernel": jax.numpy.asarray(kernel), "bias": jax.numpy.arange(width) * 0.1}


@pytest.mark.parametrize("n", [1, 5, 8, 9, 24])
def test_blocks_give_every_row_once_and_in_order(n: int) -> None:
    shapes = []

    def double(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        shapes.append(x.shape)
        return x * 2 + y[:, None]

    x, y = np.arange(3.0 * n).reshape(n, 3), np.arange(n)
    np.testing.assert_array_equal(in_blocks(double, x, y, rows=8), x * 2 + y[:, None])
    assert set(shapes) == {(8, 3)}  # one shape, so one program


@pytest.mark.parametrize("config", [MOBILE, BERT], ids=["mobilebert", "bert"])
@pytest.mark.parametrize("head", [False, True])
def test_student_weights_go_in_and_come_out_unchanged(config: EncoderConfig, head: bool) -> None:
    weights = random_weights(config, np.random.default_rng(0), head=head)
    program = StudentProgram(config, pooling_mode="mean", normalize=False)
    params = program.parameters(weights, head=head) | {"output": output_layer(10)}
    student = program.finished(params)
    assert student.has_head == head and student.weights.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(student.weights[name], value)
    own = sum(value.size for value in weights.values())
    assert student.parameters == own + (0 if head else 24 * 10 + 10)


@pytest.mark.parametrize("config", [MOBILE, BERT], ids=["mobilebert", "bert"])
def test_student_the_compiled_loop_is_the_unrolled_stack(
    config: EncoderConfig, make_distiller: Callable[..., FlashDistiller]
) -> None:
    passages = make_distiller().passages
    ids, mask = passages.input_ids[:6], passages.attention_mask[:6]
    weights = random_weights(config, np.random.default_rng(0), head=False)
    program = StudentProgram(config, pooling_mode="mean", normalize=False)
    params = program.parameters(weights, head=False)
    unrolled = np.asarray(build_encoder(config, weights)(ids, mask))
    # The same sums in float32, fused otherwise.
    np.testing.assert_allclose(program.hidden(params, ids, mask), unrolled, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mode", ["mean", "cls", "max"])
def test_student_embeds_as_served(mode: str, make_distiller: Callable[..., FlashDistiller]) -> None:
    """Pool over the tokens, project, bring to unit length: in float64 NumPy."""
    passages = make_distiller().passages
    ids, mask = passages.input_ids[:70], passages.attention_mask[:70]  # more than a block
    weights = random_weights(MOBILE, np.random.default_rng(0), head=False)
    program = StudentProgram(MOBILE, pooling_mode=mode, normalize=True)
    params = program.parameters(weights, head=False) | {"output": output_layer(10)}
    hidden = np.asarray(program.hidden(params, ids, mask), np.float64)
    pooled = np.array(
        [
            {"mean": rows[m > 0].mean(0), "cls": rows[0], "max": rows[m > 0].max(0)}[mode]
            for rows, m in zip(hidden, mask, strict=True)
        ]
    )
    vectors = pooled @ np.asarray(params["output"]["kernel"], float) + np.arange(10) * 0.1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(program.embed(params, ids, mask), vectors, atol=1e-5)
    np.testing.assert_allclose(program.pooled(params, ids, mask), pooled, atol=1e-4)


def with_head(make_distiller: Callable[..., FlashDistiller]):
    """Passages, which of their tokens are masked, and an untrained student that scores these."""
    passages = make_distiller(head=True).passages
    assert passages.masked is not None
    weights = random_weights(BERT, np.random.default_rng(0), head=True)
    program = StudentProgram(BERT, pooling_mode="mean", normalize=False)
    return passages, passages.masked, program, program.parameters(weights, head=True)


def test_student_one_compiled_pass_serves_fits_and_judging(
    make_distiller: Callable[..., FlashDistiller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers beside the encoder, which come and go in training, are no part of it."""
    passages, masked, program, params = with_head(make_distiller)
    params = params | {"output": output_layer(10)}
    traced: list[None] = []
    hidden = program.hidden
    monkeypatch.setattr(program, "hidden", lambda *given: traced.append(None) or hidden(*given))
    rows = passages.input_ids, passages.attention_mask
    guesses = masked.positions, masked.labels, masked.weights
    for some in (params, params | {"token_output": output_layer(24)}):
        program.pooled(some, *rows)
        program.embed(some, *rows)
        assert len(traced) == (1 if some is params else 2)
        program.correct(some, *rows, *guesses)
        assert len(traced) == 2


def test_student_counts_right_guesses_on_masked_places_alone(
    make_distiller: Callable[..., FlashDistiller],
) -> None:
    passages, masked, program, params = with_head(make_distiller)
    ids, mask = passages.input_ids[:20], passages.attention_mask[:20]
    guesses = np.asarray(program.logits(params, program.hidden(params, ids, mask))).argmax(-1)
    labels = masked.labels[:20].copy()
    rows, places = np.nonzero(masked.weights[:20])
    half = rows % 2 == 0  # in every second passage what it guesses is made the label
    labels[rows[half], places[half]] = guesses[rows, masked.positions[rows, places]][half]
    got = program.correct(params, ids, mask, masked.positions[:20], labels, masked.weights[:20])
    wanted = [
        sum(
            guesses[row, masked.positions[row, k]] == labels[row, k]
            for k in range(labels.shape[1])
            if masked.weights[row, k]
        )
        for row in range(20)
    ]
    np.testing.assert_array_equal(got, wanted)
    assert sum(wanted) >= half.sum()


def test_student_is_plain_arrays() -> None:
    weights = random_weights(BERT, np.random.default_rng(0), head=False)
    program = StudentProgram(BERT, pooling_mode="mean", normalize=False)
    params = program.parameters(weights, head=False) | {"output": output_layer(10)}
    student = program.finished(params)
    assert isinstance(student, Student)
    for value in (*student.weights.values(), student.kernel, student.bias):
        assert isinstance(value, np.ndarray) and value.dtype == np.float32
