"""Flash distillation: repeatable, useful, and honest when it fails."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from autodistill.corpus import shuffled_rows
from autodistill.distill.flash import FlashDistiller
from autodistill.distill.quality import fidelity
from autodistill.distill.student import StudentProgram
from autodistill.errors import TrainingError
from autodistill.models.config import BertConfig, EncoderConfig, MobileBertConfig
from autodistill.teacher import DenseLayer, Pooling

Make = Callable[..., FlashDistiller]
SIZES = {"vocab_size": 60, "max_position_embeddings": 32}
MOBILE = MobileBertConfig(
    num_hidden_layers=2,
    hidden_size=32,
    num_attention_heads=2,
    intermediate_size=32,
    embedding_size=16,
    intra_bottleneck_size=16,
    num_feedforward_networks=1,
    **SIZES,
)
BERT = BertConfig(1, 24, 2, 32, **SIZES)
WORDS = "embeddings.word_embeddings.weight"


def tanh_layer() -> DenseLayer:
    kernel = np.random.default_rng(9).standard_normal((24, 10)).astype(np.float32)
    return DenseLayer(kernel / 5, np.full(10, 0.1, np.float32), is_linear=False)


@pytest.fixture(scope="module")
def distiller(make_distiller: Make) -> FlashDistiller:
    return make_distiller()


@pytest.fixture(scope="module")
def distilled(distiller: FlashDistiller):
    steps: list[tuple[int, int]] = []
    result = distiller.distil(MOBILE, progress=lambda done, total: steps.append((done, total)))
    return result, steps


def test_flash_the_same_seed_gives_the_same_student(distiller: FlashDistiller, distilled) -> None:
    first, _ = distilled
    second = distiller.distil(MOBILE)
    assert second.judged == first.judged and second.losses == first.losses
    for name, value in first.student.weights.items():
        np.testing.assert_array_equal(value, second.student.weights[name])
    np.testing.assert_array_equal(first.student.kernel, second.student.kernel)


def test_flash_another_seed_gives_another_student(make_distiller: Make, distilled) -> None:
    first, _ = distilled
    other = make_distiller(seed=1).distil(MOBILE)
    name = "encoder.layer.0.attention.self.query.weight"
    assert (first.student.weights[name] != other.student.weights[name]).any()
    assert first.judged != other.judged


def test_flash_lowers_the_loss_and_keeps_what_the_start_had(
    make_distiller: Make, distilled
) -> None:
    """One step, whose rate is zero in the warm-up, shows the loss of the start."""
    result, steps = distilled
    start = make_distiller(steps=1).distil(MOBILE)
    assert result.losses["token"] < start.losses["token"]
    assert result.losses.keys() == {"token", "passage", "loss"}
    assert result.losses["loss"] == pytest.approx(
        result.losses["token"] + 0.1 * result.losses["passage"], rel=1e-5
    )
    tolerance = 2 * result.start.quality.standard_error
    assert result.judged.quality.value > result.start.quality.value - tolerance
    assert steps == [(20, 40), (40, 40)]


def test_flash_an_untrained_student_is_far_below(distilled) -> None:
    result, _ = distilled
    errors = result.judged.quality.standard_error + result.untrained.quality.standard_error
    assert result.judged.quality.value > result.untrained.quality.value + 5 * errors
    assert result.judged.agreement > result.untrained.agreement


def test_flash_the_quality_is_that_of_the_student_that_is_handed_back(
    distiller: FlashDistiller, distilled
) -> None:
    result, _ = distilled
    program = StudentProgram(MOBILE, pooling_mode="mean", normalize=True)
    params = program.parameters(result.student.weights, head=False)
    params["output"] = {"kernel": result.student.kernel, "bias": result.student.bias}
    held = distiller.held_out
    vectors = program.embed(params, held.passages.input_ids, held.passages.attention_mask)
    again = fidelity(held.embeddings, vectors, held.passages.documents)
    assert again.value == pytest.approx(result.judged.quality.value, abs=1e-5)


def test_flash_the_table_of_an_embedding_student_stays_as_it_began(
    distiller: FlashDistiller, distilled
) -> None:
    result, _ = distilled
    table = result.student.weights[WORDS]
    np.testing.assert_array_equal(table, distiller.start.table[:, :16])
    assert (table[0] == 0).all()


def test_flash_every_other_weight_is_trained(make_distiller: Make, distilled) -> None:
    """Each moves away from where the first step, of rate zero, left it."""
    result, _ = distilled
    start = make_distiller(steps=1).distil(MOBILE).student
    # Position rows beyond the passages, the other segment, and key biases (softmax does not
    # see a constant) have no gradient.
    for name, value in result.student.weights.items():
        if name != WORDS and "key.bias" not in name:
            assert (value != start.weights[name]).any(), name


@pytest.mark.parametrize("rate", [float("inf"), 1e30])
def test_flash_a_divergent_student_is_an_error(rate: float, make_distiller: Make) -> None:
    with pytest.raises(TrainingError, match=r"diverged"):
        make_distiller(learning_rate=rate, steps=4).distil(BERT)


def test_flash_a_last_step_that_diverges_is_an_error(make_distiller: Make) -> None:
    """The loss of the last step was still finite; the weights are not."""
    with pytest.raises(TrainingError, match="weights that are not finite"):
        make_distiller(learning_rate=float("inf"), steps=1).distil(BERT)


@pytest.mark.parametrize(
    ("pooling", "width"),
    [
        pytest.param(Pooling("cls", normalize=True), 24, marks=pytest.mark.slow),
        pytest.param(Pooling("max"), 24, marks=pytest.mark.slow),
        (Pooling("mean", dense=(tanh_layer(),), normalize=True), 10),
    ],
    ids=["cls", "max", "tanh"],
)
def test_flash_other_poolings_train(pooling: Pooling, width: int, make_distiller: Make) -> None:
    distiller = make_distiller(pooling, steps=20)
    result = distiller.distil(MOBILE)
    assert result.student.kernel.shape == (32, width)
    assert ("token" in result.losses) == pooling.is_linear
    assert np.isfinite(result.losses["loss"])
    assert 0 < result.judged.quality.value <= 1
    assert result.judged.quality.value > result.untrained.quality.value


def test_flash_the_soft_loss_is_the_divergence_from_the_teachers_head(make_distiller: Make) -> None:
    """Of which no step runs any: the teacher's outputs hold what it says."""
    distiller = make_distiller(head=True)
    teacher, outputs = distiller.teacher, distiller.outputs
    headless = replace(teacher, head=None)
    passages, settings = distiller.passages, distiller.settings
    distiller = FlashDistiller(
        headless, passages, outputs, distiller.start, distiller.held_out, settings
    )
    program, run = distiller.begin(BERT)
    params = run.params()
    run.advance(1)
    rows = next(shuffled_rows(len(passages), batch_size=settings.batch_size, seed=settings.seed))
    batch = distiller.batch(rows)
    where = batch["positions"][..., None]

    def at_places(states) -> jax.Array:
        return jnp.take_along_axis(jnp.asarray(states, jnp.float32), where, axis=1)

    theirs = teacher.head(
        at_places(teacher.encoder(batch["ids"], batch["mask"])), teacher.word_embeddings
    )
    hidden = program.hidden(params, batch["ids"], batch["mask"])
    ours = program.logits(params, at_places(hidden))
    p = softmax(np.asarray(theirs, np.float64), axis=-1)
    logs = np.log(p) - log_softmax(np.asarray(ours, np.float64), axis=-1)
    expected = np.average((p * logs).sum(-1), weights=batch["weights"])
    assert float(run.losses[0]["soft"]) == pytest.approx(expected / 2, rel=1e-3)  # float32 sums


@pytest.mark.parametrize("config", [MOBILE, BERT], ids=["mobilebert", "bert"])
def test_flash_masked_lm_students_train(config: EncoderConfig, make_distiller: Make) -> None:
    result = make_distiller(head=True).distil(config)
    start = make_distiller(head=True, steps=1).distil(config)
    assert result.losses.keys() == {"token", "label", "soft", "loss"}
    # Batches differ in how hard they are, by far less than the steps gain.
    assert result.losses["loss"] < start.losses["loss"], (result.losses, start.losses)
    assert result.student.has_head and result.judged.agreement is None
    assert 0 <= result.judged.quality.value <= 1
    table = result.student.weights[WORDS]  # scores words, so it is trained
    assert (table != start.student.weights[WORDS]).any()
    assert (table[0] == 0).all()
    assert result.student.parameters == sum(v.size for v in result.student.weights.values())
