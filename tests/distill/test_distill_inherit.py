"""A student that begins with another: which numbers it takes, and what it then computes."""

from dataclasses import replace

import numpy as np
import pytest

from autodistill.distill.beginning import Material, beginning
from autodistill.distill.flash import FlashDistiller
from autodistill.distill.full import FullDistillation, FullSettings
from autodistill.distill.inherit import Donor, inherited
from autodistill.distill.judge import HeldOut, judge
from autodistill.distill.recipe import Start
from autodistill.distill.recipes import get_recipe
from autodistill.distill.start import started_weights, word_start
from autodistill.distill.teacher_outputs import embed_passages, teacher_outputs
from autodistill.distill.trainer import TrainSettings
from autodistill.errors import RecipeError
from autodistill.models.checkpoint import HEAD_PREFIX, build_encoder
from autodistill.models.config import BertConfig, MobileBertConfig

SIZES = {"vocab_size": 60, "max_position_embeddings": 32}
MOBILE = MobileBertConfig(
    2,
    16,
    2,
    16,
    embedding_size=8,
    intra_bottleneck_size=8,
    num_feedforward_networks=1,
    normalization_type="no_norm",
    **SIZES,
)


def noisy(distiller: FlashDistiller, config, *, seed: int = 5) -> Donor:
    """As if trained: every weight moved."""
    rng = np.random.default_rng(seed)
    weights = started_weights(config, distiller.start, rng, head=False)
    return Donor(
        config,
        {n: v + 0.1 * rng.standard_normal(v.shape, np.float32) for n, v in weights.items()},
    )


@pytest.fixture
def distiller(make_distiller) -> FlashDistiller:
    return make_distiller(steps=8)


def started(distiller: FlashDistiller, config) -> dict[str, np.ndarray]:
    return started_weights(config, distiller.start, np.random.default_rng(0), head=False)


def states(config, weights, passages) -> np.ndarray:
    return np.asarray(build_encoder(config, weights)(passages.input_ids, passages.attention_mask))


def test_of_one_shape_all_is_inherited(distiller):
    donor = noisy(distiller, MOBILE)
    weights = inherited(started(distiller, MOBILE), MOBILE, donor)
    assert weights.keys() == donor.weights.keys()
    for name, value in donor.weights.items():
        np.testing.assert_array_equal(weights[name], value)
    weights["embeddings.word_embeddings.weight"] += 1  # a copy: the donor stays as it is
    assert (donor.weights["embeddings.word_embeddings.weight"] < weights[
        "embeddings.word_embeddings.weight"
    ]).all()  # fmt: skip


def test_a_deeper_student_computes_what_its_donor_does(distiller, passages):
    """Layers between begin at the identity, as those of a start from words do."""
    donor, deeper = noisy(distiller, MOBILE), replace(MOBILE, num_hidden_layers=5)
    weights = inherited(started(distiller, deeper), deeper, donor)
    some = passages(4, seed=3)
    np.testing.assert_allclose(
        states(deeper, weights, some), states(MOBILE, donor.weights, some), rtol=0, atol=1e-5
    )


def test_a_shallower_student_takes_layers_at_even_distances(distiller):
    donor = noisy(distiller, replace(MOBILE, num_hidden_layers=4))
    weights = inherited(started(distiller, MOBILE), MOBILE, donor)
    for ours, theirs in ((0, 1), (1, 3)):
        name = "encoder.layer.{}.output.dense.weight"
        np.testing.assert_array_equal(
            weights[name.format(ours)], donor.weights[name.format(theirs)]
        )


@pytest.mark.parametrize("width", [16, 4])
def test_of_other_widths_each_head_keeps_its_own(width, distiller):
    """Rows of a query are heads side by side: the first rows of each are taken."""
    config = replace(MOBILE, intra_bottleneck_size=width)
    donor, before = noisy(distiller, MOBILE), started(distiller, config)
    weights = inherited(before, config, donor)
    size, own, both = 4, width // 2, min(4, width // 2)
    name = "encoder.layer.0.attention.self.query.weight"
    for head in range(2):
        for row in range(own):
            found, first = weights[name][head * own + row], before[name][head * own + row]
            n = min(width, 8)
            if row < both:
                np.testing.assert_array_equal(found[:n], donor.weights[name][head * size + row][:n])
                np.testing.assert_array_equal(found[n:], first[n:])
            else:
                np.testing.assert_array_equal(found, first)
    name = "encoder.layer.1.attention.output.dense.weight"
    n = min(width, 8)
    for head in range(2):
        np.testing.assert_array_equal(
            weights[name][:n, head * own : head * own + both],
            donor.weights[name][:n, head * size : head * size + both],
        )


def test_of_other_embeddings_each_word_of_a_trigram_keeps_its_own(distiller):
    config = replace(MOBILE, embedding_size=4)
    donor = noisy(distiller, MOBILE)
    weights = inherited(started(distiller, config), config, donor)
    name = "embeddings.embedding_transformation.weight"
    for word in range(3):
        np.testing.assert_array_equal(
            weights[name][:, word * 4 : word * 4 + 4], donor.weights[name][:, word * 8 :][:, :4]
        )


def test_of_other_embeddings_the_scores_of_other_units_are_not_taken(distiller):
    """Behind the table's width, a row of the head's matrix is a hidden unit counted from there."""
    name = HEAD_PREFIX + "dense.weight"
    for narrow in (8, 4):
        config = replace(MOBILE, embedding_size=narrow)
        before = started_weights(config, distiller.start, np.random.default_rng(0), head=True)
        theirs = started_weights(MOBILE, distiller.start, np.random.default_rng(1), head=True)
        after = inherited(before, config, Donor(MOBILE, theirs))
        np.testing.assert_array_equal(after[name], theirs[name] if narrow == 8 else before[name])
        assert narrow == 4 or (before[name] != theirs[name]).any()


def test_networks_that_the_donor_lacks_stay_as_they_were(distiller):
    config = replace(MOBILE, num_feedforward_networks=2)
    donor, before = noisy(distiller, MOBILE), started(distiller, config)
    weights = inherited(before, config, donor)
    new = set(weights) - set(donor.weights)
    assert any(".ffn.0." in name for name in new)
    for name in new:
        np.testing.assert_array_equal(weights[name], before[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "gelu"}, r"differ in hidden_act \(relu, gelu\)"),
        ({"normalization_type": "layer_norm"}, "differ in normalization_type"),
        ({"vocab_size": 61}, r"differ in vocab_size \(60, 61\)"),
        (
            {"use_bottleneck_attention": True, "key_query_shared_bottleneck": False},
            r"differ in use_bottleneck_attention \(False, True\), key_query_shared_bottleneck",
        ),
    ],
)
def test_a_donor_of_another_kind_is_refused(change, message, distiller):
    donor = Donor(replace(MOBILE, **change), {})
    with pytest.raises(RecipeError, match=message):
        distiller.distil(MOBILE, donor=donor)


def test_a_donor_of_another_family_is_refused(distiller):
    with pytest.raises(RecipeError, match=r"model_type \(mobilebert, bert\)"):
        distiller.begin(MOBILE, donor=Donor(BertConfig(2, 16, 2, 32, **SIZES), {}))


def test_a_flash_begins_where_its_donor_ended(distiller):
    """Of one shape: with the layers that were trained and outputs fitted to them."""
    first = distiller.distil(MOBILE)
    again = distiller.distil(MOBILE, donor=Donor(MOBILE, first.student.weights))
    assert again.start.quality.value == pytest.approx(first.judged.quality.value, abs=0.02)
    assert again.start.quality.value > first.start.quality.value
    assert again.judged.quality.value > first.start.quality.value


def test_a_full_run_begins_where_its_donor_ended(make_tiny_teacher, passages, tmp_path):
    """And is another run than one with another donor, or with none."""
    teacher, train, held = make_tiny_teacher(), passages(64, seed=1), passages(32, seed=2)
    outputs = teacher_outputs(teacher, train, cache_dir=tmp_path)
    words = word_start(teacher.word_embeddings, train, outputs, pad=0)

    def make(donor: Donor | None) -> FullDistillation:
        recipe = get_recipe("embedding")
        return FullDistillation(
            replace(recipe, start=Start.STUDENT) if donor else recipe,
            teacher,
            MOBILE,
            source=train,
            held_out=HeldOut(held, embed_passages(teacher, held)),
            material=Material(train, outputs, words),
            settings=FullSettings(8, train=TrainSettings(batch_size=16, log_every=4)),
            donor=donor,
        )

    first = make(None)
    result = first.run(tmp_path / "first")
    donor = Donor(MOBILE, result.student.weights, "a1")
    second = make(donor)
    weights = beginning(
        second.recipe, second.planned, teacher, MOBILE, second.material, seed=0, donor=donor
    )
    for name, value in donor.weights.items():  # of one shape, all of it
        np.testing.assert_array_equal(weights[name], value)
    first_weights = beginning(first.recipe, first.planned, teacher, MOBILE, first.material, seed=0)
    moved = [name for name in donor.weights if (weights[name] != first_weights[name]).any()]
    assert any(".attention." in name for name in moved), "a start from words would do as well"
    start = judge(second._program, second._program_params(weights), second.held_out)
    assert start.quality.value == pytest.approx(result.judged.quality.value, abs=0.02)
    identities = [one.identity() for one in (first, second, make(replace(donor, fingerprint="b2")))]
    assert [one["start_from"] for one in identities] == ["words", "student a1", "student b2"]
