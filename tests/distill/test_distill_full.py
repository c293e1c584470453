"""Full distillation: every recipe trains, and a stopped run ends as if it had not been."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from autodistill.distill.beginning import Material, beginning
from autodistill.distill.checkpoints import Checkpoints
from autodistill.distill.full import (
    FullDistillation,
    FullSettings,
    make_batches,
    position_weights,
)
from autodistill.distill.judge import HeldOut
from autodistill.distill.one_checkpoint import Place
from autodistill.distill.output_terms import PassageCosine, PassageSimilarity
from autodistill.distill.recipe import Stage, plan
from autodistill.distill.recipes import RECIPES
from autodistill.distill.start import word_start
from autodistill.distill.targets import CacheSettings, Targets, make_targets
from autodistill.distill.teacher_outputs import TeacherOutputs, embed_passages, teacher_outputs
from autodistill.distill.throughput import layer_flops, matrix_product_flops_per_s, step_flops
from autodistill.distill.train_step import loss_names
from autodistill.distill.trainer import TrainSettings
from autodistill.errors import ArgumentError, RecipeError, TrainingError
from autodistill.models.config import BertConfig, MobileBertConfig

SIZES = {"vocab_size": 60, "max_position_embeddings": 32}
BERT = BertConfig(2, 16, 2, 32, **SIZES)
MOBILE = MobileBertConfig(
    1, 16, 2, 16, embedding_size=8, intra_bottleneck_size=8, num_feedforward_networks=1, **SIZES
)
TRAIN = TrainSettings(batch_size=16, log_every=4, checkpoint_every=8)
# Each recipe once, under the kinds of teacher by turns. DistilBERT's student is the
# teacher but for its depth.
CASES = {
    "autodistill": ("masked", MOBILE),
    "embedding": ("embedding", BERT),
    "mobilebert": ("masked", BERT),
    "distilbert": ("masked", BertConfig(1, 24, 2, 48, **SIZES)),
    "tinybert": ("embedding", BERT),
    "minilm": ("embedding", replace(BERT, num_attention_heads=4)),
    "nas-bert": ("masked", BERT),
}


@pytest.fixture(scope="module")
def make(make_tiny_teacher, passages, tmp_path_factory) -> Callable[..., FullDistillation]:
    """A distillation of a tiny student, its text read once."""
    folder = tmp_path_factory.mktemp("cache")

    @cache
    def made(kind: str):
        head = kind == "masked"
        teacher = make_tiny_teacher(head=head)
        train, held = passages(128, seed=1), passages(48, seed=2, masked=head)
        outputs = None if head else teacher_outputs(teacher, train, cache_dir=folder)
        nothing = TeacherOutputs(np.zeros((0, 0, 0)), None)
        words = word_start(teacher.word_embeddings, train, outputs or nothing, pad=0)
        return SimpleNamespace(
            teacher=teacher,
            source=train,
            held_out=HeldOut(held, None if head else embed_passages(teacher, held)),
            material=Material(train, outputs, words),
        )

    def make(
        name: str, *, steps: int = 24, kept: CacheSettings | None = None, **changes
    ) -> FullDistillation:
        kind, config = CASES[name]
        parts = made(kind)
        settings = FullSettings(steps, **{"train": TRAIN, **changes})
        batches = make_batches(parts.teacher, parts.source, settings)
        planned = plan(RECIPES[name], parts.teacher, config, steps=steps)
        return FullDistillation(
            RECIPES[name],
            parts.teacher,
            config,
            source=parts.source,
            held_out=parts.held_out,
            material=parts.material,
            settings=settings,
            targets=make_targets(parts.teacher, planned, batches, kept),
        )

    return make


@pytest.fixture(scope="module")
def whole(make, tmp_path_factory):
    """A run of each recipe that was not interrupted, made when it is asked for."""
    return cache(lambda name: make(name).run(tmp_path_factory.mktemp(name) / "run"))


# Two of them cover what a phase can be; the others differ in their terms alone, which
# the tracing below and the tests of the terms' formulas cover.
FAST = ("embedding", "nas-bert")


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_full_every_recipe_lowers_its_losses(name, make, whole) -> None:
    """In each phase of several records, the last is below the first; all is trained."""
    result, distillation = whole(name), make(name)
    records = result.records
    assert [r["step"] for r in records][-1] == 24
    for one in distillation.planned:
        own = [r["loss"] for r in records if r["phase"] == one.name]
        assert own and np.isfinite(own).all()
        if len(own) > 2:
            # Batches differ by less than the steps gain.
            assert min(own[-2:]) < own[0], (one.name, own)
    assert 0 <= result.judged.quality.value <= 1
    assert result.student.has_head == (CASES[name][0] == "masked")
    initial = beginning(
        distillation.recipe,
        distillation.planned,
        distillation.teacher,
        distillation.config,
        distillation.material,
        seed=0,
    )
    for name, value in result.student.weights.items():
        # softmax does not see a constant added to all keys; no text is of a second segment
        if "key.bias" not in name and "token_type" not in name:
            assert (value != initial[name]).any(), name
    assert result.tokens_per_s > 0 and result.flops > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_full_kept_outputs_give_the_losses_of_a_teacher_that_runs(
    name, make, whole, tmp_path
) -> None:
    """With all classes kept; half precision is 5e-4 of a state, and steps add to it."""
    kept = CacheSettings(tmp_path / "cache", classes=60)
    distillation = make(name, kept=kept)
    assert distillation.targets.all_kept and distillation.constants() == {}
    result = distillation.run(tmp_path / "run")
    assert result.teacher_s > 0
    for ours, theirs in zip(result.records, whole(name).records, strict=True):
        assert ours.pop("phase") == theirs["phase"]
        assert ours == pytest.approx({n: theirs[n] for n in ours}, rel=5e-3), ours["step"]


def test_full_students_of_embedding_teachers_end_with_a_fitted_output(make, whole) -> None:
    """Least squares on the training passages: no other layer explains them better."""
    result, distillation = whole("embedding"), make("embedding")
    params = distillation._program.parameters(result.student.weights, head=False)
    material = distillation.material
    ids, mask = material.passages.input_ids, material.passages.attention_mask
    pooled = distillation._program.pooled(params, ids, mask).astype(np.float64)
    design = np.hstack([pooled, np.ones((len(pooled), 1))])
    targets = np.asarray(material.outputs.passages, np.float64)
    best = ((design @ np.linalg.lstsq(design, targets)[0] - targets) ** 2).sum()
    kept = ((pooled @ result.student.kernel + result.student.bias - targets) ** 2).sum()
    assert kept == pytest.approx(best, rel=0.02)  # the ridge's penalty is 1%
    assert result.judged.quality.value > 0.5


def test_full_a_stopped_run_ends_as_if_it_had_not_been(make, whole, tmp_path) -> None:
    """Bit for bit, from a checkpoint four steps back."""

    def interrupt(record):
        if record["step"] == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make("embedding").run(tmp_path / "run", on_record=interrupt)
    resumed, first = make("embedding").run(tmp_path / "run"), whole("embedding")
    assert resumed.records == first.records
    for name, value in first.student.weights.items():
        np.testing.assert_array_equal(resumed.student.weights[name], value)
    np.testing.assert_array_equal(resumed.student.kernel, first.student.kernel)
    assert resumed.judged == first.judged


def values_of(distillation, one):
    """The loss of a phase as a compiled function of parameters and batch."""
    loss, constants = distillation.loss(one), distillation.constants()

    @jax.jit
    def values(params, constants, batch):
        return {name: part.values for name, part in loss(params, constants, batch).items()}

    return lambda params, batch: values(params, constants, batch)


def begun(distillation, one):
    """The parameters that one of its phases begins with, if it is the first."""
    return beginning(
        distillation.recipe,
        [one],
        distillation.teacher,
        distillation.config,
        distillation.material,
        seed=0,
    )


def test_full_the_loss_is_the_papers_sum(make) -> None:
    """DistilBERT's, in float64 from what the encoders give one by one."""
    distillation = make("distilbert")
    one = distillation.planned[0]
    initial = begun(distillation, one)
    batch = distillation.targets.batch_at(3)
    found = values_of(distillation, one)(initial, batch)
    factors = {term.name: factor for factor, term in one.stage.terms}
    teacher = distillation.teacher
    table = teacher.word_embeddings
    theirs = np.asarray(teacher.encoder(batch["ids"], batch["mask"]), np.float64)
    # Its one layer is the teacher's last, and begins as that one.
    encoder = teacher.encoder
    ours = np.asarray(
        encoder.run_layers(encoder.embeddings(batch["ids"], None), batch["mask"], 1), np.float64
    )
    where = batch["positions"][..., None]
    scores = [
        np.asarray(teacher.head(jnp.asarray(np.take_along_axis(x, where, 1)), table), np.float64)
        for x in (ours, theirs)
    ]
    log_q = log_softmax(scores[0] / 2, axis=-1)
    p = softmax(scores[1] / 2, axis=-1)
    soft = 4 * (p * (np.log(p) - log_q)).sum(-1)
    hard = -np.take_along_axis(log_softmax(scores[0], -1), batch["labels"][..., None], -1)[..., 0]
    norms = np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1)
    cosine = 1 - (ours * theirs).sum(-1) / norms
    used, real = batch["weights"] > 0, batch["mask"] > 0
    for name, factor, expected, counts in (
        ("soft_targets", 5.0, soft, used),
        ("masked_lm", 2.0, hard, used),
        ("cosine", 1.0, cosine, real),
    ):
        assert factors[name] == factor
        np.testing.assert_allclose(
            np.asarray(found[name])[counts], expected[counts], rtol=1e-3, atol=1e-4
        )


def test_full_padding_changes_no_loss(make) -> None:
    distillation = make("nas-bert")
    initial = beginning(
        distillation.recipe,
        distillation.planned,
        distillation.teacher,
        distillation.config,
        distillation.material,
        seed=0,
    )
    batch = distillation.targets.batch_at(0)
    polluted = batch | {"ids": np.where(batch["mask"] > 0, batch["ids"], 7)}
    assert (polluted["ids"] != batch["ids"]).any()
    for one in distillation.planned:
        values = values_of(distillation, one)
        clean, other = values(initial, batch), values(initial, polluted)
        for _, term in one.stage.terms:
            counts = batch["mask" if term.kind == "tokens" else "weights"] > 0
            expected = np.asarray(clean[term.name])[counts]
            found = np.asarray(other[term.name])[counts]
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_full_every_term_has_a_value_per_position(name, cached, make, tmp_path) -> None:
    """And reads nothing that is missing; from shapes alone, nothing is compiled."""
    distillation = make(name, kept=CacheSettings(tmp_path) if cached else None)
    initial = beginning(
        distillation.recipe,
        distillation.planned,
        distillation.teacher,
        distillation.config,
        distillation.material,
        seed=0,
    )
    for one, phase in zip(distillation.planned, distillation.targets.phases, strict=True):
        batch = distillation.targets.batch_at(phase.begin)
        shapes = {kind: w.shape for kind, w in position_weights(batch).items()}
        loss = distillation.loss(one)

        def values(params, constants, batch, loss=loss):
            return {name: part.values for name, part in loss(params, constants, batch).items()}

        found = jax.eval_shape(values, initial, distillation.constants(), batch)
        terms = [term for _, term in one.stage.terms]
        assert list(found) == sorted(term.name for term in terms)
        for term in terms:
            assert found[term.name].shape == shapes[term.kind], term.name
            assert found[term.name].dtype == jnp.float32
        assert any(one.trains(name) for name in initial)


@pytest.fixture
def of_similarities(make) -> Callable[..., FullDistillation]:
    """Under a recipe of one's own, which compares the passages of a batch."""

    def of(**train: int) -> FullDistillation:
        like = make("embedding")
        terms = ((1.0, PassageCosine()), (0.1, PassageSimilarity()))
        return FullDistillation(
            replace(like.recipe, name="mine", stages=(Stage("only", terms),)),
            like.teacher,
            like.config,
            source=like.source,
            held_out=like.held_out,
            material=like.material,
            settings=replace(like.settings, train=replace(TRAIN, **train)),
        )

    return of


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"accumulate": 2}, "passage_similarity of the recipe mine .* into 2 micro-batches"),
        ({"batch_size": 2}, "passage_similarity of the recipe mine .* at least 3; got 2"),
    ],
)
def test_full_what_compares_passages_needs_all_of_a_batch(of_similarities, train, message) -> None:
    with pytest.raises(RecipeError, match=message):
        of_similarities(**train)


def test_full_what_compares_passages_is_not_cut_where_memory_is_short(of_similarities) -> None:
    """The trainer traces the loss again for each micro-batch, which would change its meaning."""
    distillation = of_similarities()
    (one,) = distillation.planned
    initial = begun(distillation, one)
    batch, loss = distillation.targets.batch_at(0), distillation.loss(one)
    names = loss_names(loss, initial, distillation.constants(), batch)
    assert names == ["loss", "passage_cosine", "passage_similarity"]
    half = {name: rows[::2] for name, rows in batch.items()}
    with pytest.raises(RecipeError, match="2 micro-batches, by --accumulate or as memory did not"):
        loss_names(loss, initial, distillation.constants(), half)


def test_full_a_batch_that_cannot_be_split_is_refused_before_the_teacher_runs(
    make, tmp_path, monkeypatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the teacher runs")

    monkeypatch.setattr(Targets, "fill", never)
    train = TrainSettings(batch_size=16, accumulate=3)
    with pytest.raises(ArgumentError, match="--batch-size must be a multiple of 3"):
        make("embedding", train=train).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_full_a_finished_run_without_its_losses_is_read_again(make, tmp_path) -> None:
    first = make("embedding", steps=2).run(tmp_path / "run")
    (tmp_path / "run" / "losses.jsonl").unlink()
    again = make("embedding", steps=2).run(tmp_path / "run")
    assert again.judged == first.judged
    assert first.to_record()["losses"]["step"] == 2 and again.to_record()["losses"] is None


def test_full_another_run_in_the_folder_is_refused(make, tmp_path) -> None:
    five, four = make("embedding", steps=5), make("embedding", steps=4)
    begun = Checkpoints(tmp_path / "run", {**four.identity(), "text": {}})
    begun.save(Place(1, 1, 0.5), {"w": np.ones(2)}, {"moment": np.ones(2)})
    begun.close()
    with pytest.raises(TrainingError, match="another run, which differs in settings"):
        five.run(tmp_path / "run")
    with pytest.raises(TrainingError, match="another run, which differs in text"):
        four.run(tmp_path / "run", text={"corpus": "other"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "--steps must be at least 1; got 0"),
        ({"learning_rate": 0.0}, "--learning-rate must be positive; got 0"),
        ({"learning_rate": float("nan")}, "--learning-rate must be positive; got nan"),
        ({"seed": -1}, "--seed must lie from 0"),
    ],
)
def test_full_settings_out_of_range(changes, message) -> None:
    with pytest.raises(ArgumentError, match=message):
        FullSettings(**{"steps": 10, **changes})


def test_full_a_batch_larger_than_the_text_is_refused(make, tmp_path) -> None:
    train = TrainSettings(batch_size=129)
    with pytest.raises(ArgumentError, match="at most 128, the passages of the text; got 129"):
        make("embedding", train=train).run(tmp_path / "run")


def test_full_operations_are_those_that_are_counted_by_hand(make) -> None:
    """BERT's layer: four square matrices, two of the feed-forward, two products of attention."""
    width, inner, length = 16, 32, 20
    by_hand = 2 * (4 * width**2 + 2 * width * inner + 2 * length * width)
    assert layer_flops(BERT, length) == by_hand
    distillation = make("tinybert")
    general, output = distillation.planned
    teacher = 2 * (4 * 24**2 + 2 * 24 * 48 + 2 * length * 24)
    args = (distillation.teacher, BERT)
    # Two layers forwards and twice backwards, and the teacher's two.
    expected = 8 * length * (6 * by_hand + 2 * teacher)
    assert step_flops(general, *args, batch=8, length=length) == expected
    # The teacher's outputs are on disk.
    assert step_flops(general, *args, batch=8, length=length, teacher_runs=False) == (
        expected - 8 * length * 2 * teacher
    )
    # Backwards through the last alone.
    expected = 8 * length * (4 * by_hand + 2 * teacher)
    assert step_flops(output, *args, batch=8, length=length) == expected
    assert matrix_product_flops_per_s() > 1e8
