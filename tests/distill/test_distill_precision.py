"""Steps in bfloat16: what is converted, what is not, and how far the losses move.

bfloat16 keeps 8 bits: a factor is off by up to 2**-9 = .002 of its size. Through two
layers of tiny students the losses stay within a few hundredths.
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autodistill.distill import precision
from autodistill.distill.adapt import AdaptSettings
from autodistill.distill.beginning import Material, beginning
from autodistill.distill.flash import FlashSettings
from autodistill.distill.full import (
    FullDistillation,
    FullSettings,
    position_weights,
)
from autodistill.distill.judge import HeldOut
from autodistill.distill.precision import as_multiplied, best_dtype
from autodistill.distill.recipes import get_recipe
from autodistill.distill.start import word_start
from autodistill.distill.teacher_outputs import TeacherOutputs, embed_passages, teacher_outputs
from autodistill.distill.trainer import TrainSettings
from autodistill.errors import ArgumentError
from autodistill.models.config import BertConfig, MobileBertConfig

SIZES = {"vocab_size": 60, "max_position_embeddings": 32}
BERT = BertConfig(2, 16, 2, 32, **SIZES)
MOBILE = MobileBertConfig(
    2, 16, 2, 16, embedding_size=8, intra_bottleneck_size=8, num_feedforward_networks=1, **SIZES
)
TRAIN = TrainSettings(batch_size=16, log_every=4, checkpoint_every=8)


@pytest.fixture
def make(make_tiny_teacher, passages, tmp_path):
    """A distillation in a dtype, and what it begins with."""

    def make(recipe: str, config, dtype: str) -> FullDistillation:
        head = recipe in ("mobilebert", "distilbert", "autodistill")
        teacher = make_tiny_teacher(head=head)
        train, held = passages(64, seed=1), passages(32, seed=2, masked=head)
        outputs = None if head else teacher_outputs(teacher, train, cache_dir=tmp_path)
        nothing = TeacherOutputs(np.zeros((0, 0, 0)), None)
        return FullDistillation(
            get_recipe(recipe),
            teacher,
            config,
            source=train,
            held_out=HeldOut(held, None if head else embed_passages(teacher, held)),
            material=Material(
                train,
                outputs,
                word_start(teacher.word_embeddings, train, outputs or nothing, pad=0),
            ),
            settings=FullSettings(12, train=TRAIN, dtype=dtype),
        )

    return make


def begun(run: FullDistillation):
    args = run.recipe, run.planned, run.teacher, run.config, run.material
    return {name: jnp.asarray(v) for name, v in beginning(*args, seed=0).items()}


def test_matrices_are_converted_and_tables_and_vectors_are_not():
    names = {
        "embeddings.word_embeddings.weight": (60, 8),
        "embeddings.embedding_transformation.weight": (16, 24),
        "encoder.layer.0.output.dense.weight": (16, 32),
        "encoder.layer.0.output.dense.bias": (16,),
        "output.kernel": (16, 24),
    }
    flat = {name: jnp.zeros(shape) for name, shape in names.items()}
    nested = {"table": {"word_embeddings": flat["output.kernel"]}, "output": flat["output.kernel"]}
    assert {name: str(v.dtype) for name, v in as_multiplied(flat, "bfloat16").items()} == {
        "embeddings.word_embeddings.weight": "float32",
        "embeddings.embedding_transformation.weight": "bfloat16",
        "encoder.layer.0.output.dense.weight": "bfloat16",
        "encoder.layer.0.output.dense.bias": "float32",
        "output.kernel": "bfloat16",
    }
    converted = as_multiplied(nested, "bfloat16")
    assert converted["table"]["word_embeddings"].dtype == jnp.float32
    assert converted["output"].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("recipe", "config"),
    [
        ("embedding", BERT),
        pytest.param("tinybert", BERT, marks=pytest.mark.slow),
        pytest.param("minilm", MOBILE, marks=pytest.mark.slow),
        pytest.param("autodistill", MOBILE, marks=pytest.mark.slow),
    ],
)
def test_losses_and_gradients_stay_near_those_in_float32(recipe, config, make):
    """Of every phase, on weights that training has moved away from zero."""
    runs = {dtype: make(recipe, config, dtype) for dtype in precision.DTYPES}
    rng = np.random.default_rng(4)
    params = {
        name: value + 0.1 * rng.standard_normal(value.shape, np.float32)
        for name, value in begun(runs["float32"]).items()
    }
    for number, one in enumerate(runs["float32"].planned):
        trained = {name for name in params if one.trains(name)}
        found = {}
        for dtype, run in runs.items():
            batch, constants = run.targets.batch_at(0), run.constants()
            loss, weights = run.loss(run.planned[number]), position_weights(batch)

            def mean(given, loss=loss, weights=weights, batch=batch, constants=constants):
                parts = loss({**params, **given}, constants, batch).values()
                return sum(
                    part.factor * jnp.sum(part.values * weights[part.kind]) for part in parts
                ) / sum(jnp.sum(one) for one in weights.values())

            value, gradient = jax.jit(jax.value_and_grad(mean))({n: params[n] for n in trained})
            assert all(leaf.dtype == jnp.float32 for leaf in gradient.values())
            rows = np.concatenate([np.ravel(gradient[name]) for name in sorted(trained)])
            found[dtype] = float(value), rows
        (exact, right), (near, ours) = found["float32"], found["bfloat16"]
        assert near == pytest.approx(exact, rel=0.03), one.name
        assert near != exact, one.name  # it was computed in another precision
        cosine = ours @ right / np.linalg.norm(ours) / np.linalg.norm(right)
        assert cosine > 0.99, one.name


def test_a_run_in_bfloat16_trains_float32_weights_to_the_same_quality(make, tmp_path):
    results = {
        dtype: make("embedding", BERT, dtype).run(tmp_path / f"run-{dtype}")
        for dtype in precision.DTYPES
    }
    half, full = results["bfloat16"], results["float32"]
    trained = half.student.weights["encoder.layer.0.intermediate.dense.weight"]
    assert (trained != trained.astype(jnp.bfloat16).astype(np.float32)).mean() > 0.9
    assert {value.dtype for value in half.student.weights.values()} == {np.dtype(np.float32)}
    assert half.records != full.records
    assert half.judged.quality.value == pytest.approx(full.judged.quality.value, abs=0.03)


@pytest.mark.parametrize("head", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_flash_in_bfloat16_is_near_that_in_float32(head, make_distiller):
    full, half = (
        make_distiller(head=head, steps=12, dtype=dtype).distil(MOBILE)
        for dtype in precision.DTYPES
    )
    assert half.losses != full.losses
    assert half.losses["loss"] == pytest.approx(full.losses["loss"], rel=0.03)
    assert half.judged.quality.value == pytest.approx(full.judged.quality.value, abs=0.05)


def test_a_run_is_not_continued_in_another_dtype(make):
    half, full = (make("embedding", BERT, dtype).identity() for dtype in ("bfloat16", "float32"))
    assert half["settings"].pop("dtype") == "bfloat16"
    assert full["settings"].pop("dtype") == "float32"
    assert half == full


@pytest.mark.parametrize(
    "make", [lambda d: FullSettings(1, dtype=d), lambda d: AdaptSettings(1, dtype=d),
             lambda d: FlashSettings(dtype=d)]
)  # fmt: skip
def test_another_dtype_is_refused(make):
    with pytest.raises(ArgumentError, match="must be float32 or bfloat16; got float16"):
        make("float16")


@pytest.mark.parametrize(
    ("platform", "capability", "flags", "expected"),
    [
        ("tpu", None, "", "bfloat16"),
        ("gpu", "9.0", "", "bfloat16"),
        ("gpu", "7.5", "", "float32"),
        ("gpu", "gfx90a", "", "bfloat16"),
        ("cpu", None, "fpu avx512f avx512_bf16", "bfloat16"),
        ("cpu", None, "fpu amx_bf16", "bfloat16"),
        ("cpu", None, "fpu avx2", "float32"),
    ],
)
def test_the_default_is_what_the_device_multiplies(
    platform, capability, flags, expected, monkeypatch, tmp_path
):
    device = SimpleNamespace(platform=platform)
    if capability:
        device.compute_capability = capability
    monkeypatch.setattr(jax, "devices", lambda: [device])
    about = tmp_path / "cpuinfo"
    about.write_text(f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\n")
    monkeypatch.setattr(precision, "CPU_INFO", about)
    assert best_dtype() == expected


def test_without_a_list_of_flags_the_default_is_float32(monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "CPU_INFO", tmp_path / "none")
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(platform="cpu")])
    assert best_dtype() == "float32"
