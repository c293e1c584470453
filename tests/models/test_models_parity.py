"""Encoders and heads against transformers, on small random checkpoints.

Tolerance: both sides compute in float32, where sums in another order differ by
about 1e-6 at values of size one. 1e-4 is what users are promised; an epsilon, an
activation or a residual in the wrong place moves these values by 1e-2 and more.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from autodistill.errors import TeacherError
from autodistill.models import build_encoder, build_head, config_from_hugging_face, read_weights
from autodistill.models.checkpoint import HEAD_PREFIX, read_json, weight_shapes, weights_of
from autodistill.models.encoder import Encoder
from autodistill.models.heads import MaskedLMHead

torch = pytest.importorskip("torch", reason="transformers runs on torch")
transformers = pytest.importorskip("transformers", reason="it is the reference")
safetensors_torch = pytest.importorskip("safetensors.torch")

SMALL = {
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "vocab_size": 50,
    "max_position_embeddings": 16,
}
BERT = {
    "gelu": {},
    "gelu_new": {"hidden_act": "gelu_new"},
    "silu": {"hidden_act": "silu"},
    "wide epsilon": {"layer_norm_eps": 0.05},
    "three segments": {"type_vocab_size": 3},
    "one layer, one head": {"num_hidden_layers": 1, "num_attention_heads": 1},
}
# A wide epsilon tells apart the norms that take the config's from those that do not.
MOBILEBERT = {
    "no_norm": {},
    "layer_norm": {"normalization_type": "layer_norm", "layer_norm_eps": 0.05},
    "gelu": {"hidden_act": "gelu", "normalization_type": "layer_norm"},
    "gelu_new": {"hidden_act": "gelu_new", "normalization_type": "layer_norm"},
    "no trigram": {"trigram_input": False},
    "no trigram, equal widths": {"trigram_input": False, "embedding_size": 32},
    "embedding as wide as hidden": {"embedding_size": 32},
    "no bottleneck": {"use_bottleneck": False},
    "no bottleneck, layer_norm": {
        "use_bottleneck": False,
        "normalization_type": "layer_norm",
        "layer_norm_eps": 0.05,
    },
    "bottlenecked attention": {"use_bottleneck_attention": True},
    "own key and query": {"key_query_shared_bottleneck": False, "intra_bottleneck_size": 32},
    "one feed-forward network": {"num_feedforward_networks": 1},
    "four feed-forward networks": {"num_feedforward_networks": 4},
}
CASES = [("bert", name) for name in BERT] + [("mobilebert", name) for name in MOBILEBERT]


def reference(family: str, **changes: Any) -> Any:
    """A masked-LM model of transformers in which every weight has something to say."""
    if family == "bert":
        config = transformers.BertConfig(**{**SMALL, "hidden_size": 32, **changes})
        kind = transformers.BertForMaskedLM
    else:
        sizes = {"hidden_size": 32, "intra_bottleneck_size": 16, "embedding_size": 12}
        values = {**SMALL, **sizes, "num_feedforward_networks": 2, **changes}
        config = transformers.MobileBertConfig(**values)
        kind = transformers.MobileBertForMaskedLM
    config._attn_implementation = "eager"  # the one that returns attentions
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            is_scale = name.endswith("LayerNorm.weight")
            fan_in = value.shape[-1] if value.ndim == 2 and "embeddings." not in name else 4
            noise = torch.randn_like(value) / max(fan_in, 1) ** 0.5
            value.copy_(1 + 0.2 * noise if is_scale else noise)
    return model


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}: {case[1]}")
def model(request: pytest.FixtureRequest) -> Any:
    family, name = request.param
    return reference(family, **(BERT if family == "bert" else MOBILEBERT)[name])


def batch(model: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three rows of 11 tokens: whole, padded, and padded to almost nothing."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, model.config.vocab_size, (3, 11))
    mask = (np.arange(11) < np.array([[11], [7], [1]])).astype(int)
    segments = rng.integers(0, model.config.type_vocab_size, (3, 11))
    return ids, mask, segments


def assert_close(ours: Any, theirs: Any) -> None:
    """Equal to 1e-4, or to 1e-5 of the largest value where states without a norm grow.

    A float32 sum loses about 1e-7 of its largest addend; which it adds first is up to the
    processor, and a stack of blocks multiplies that.
    """
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    np.testing.assert_allclose(
        ours, theirs, rtol=1e-4, atol=max(1e-4, 1e-5 * float(np.abs(theirs).max()))
    )


def saved(model: Any, folder: Path, **options: Any) -> Path:
    model.save_pretrained(folder, **options)
    return folder


def test_states_attentions_and_logits_equal_transformers(model: Any, tmp_path: Path) -> None:
    ids, mask, segments = batch(model)
    with torch.no_grad():
        theirs = model(
            input_ids=torch.tensor(ids),
            attention_mask=torch.tensor(mask),
            token_type_ids=torch.tensor(segments),
            output_hidden_states=True,
            output_attentions=True,
        )
    folder = saved(model, tmp_path)
    config = config_from_hugging_face(read_json(folder / "config.json"))
    weights = read_weights(folder)
    encoder = build_encoder(config, weights)
    arrays = (jnp.asarray(ids), jnp.asarray(mask), jnp.asarray(segments))

    table = jnp.asarray(weights["embeddings.word_embeddings.weight"])
    head = build_head(config, weights)

    ours = encoder.trace(*arrays)
    assert len(ours.hidden_states) == len(theirs.hidden_states) == config.num_hidden_layers + 1
    for one, other in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        assert_close(one, other)
    assert len(ours.attentions) == len(theirs.attentions) == config.num_hidden_layers
    for one, other in zip(ours.attentions, theirs.attentions, strict=True):
        assert_close(one, other)
    assert float(theirs.hidden_states[-1].std()) > 0.1, "values that could not differ"
    scanned = encoder.trace(*arrays, scan=True)
    for one, other in zip(jax.tree.leaves(vars(scanned)), jax.tree.leaves(vars(ours)), strict=True):
        assert_close(one, other)
    assert_close(encoder(*arrays), theirs.hidden_states[-1])
    assert_close(encoder(*arrays, scan=True), theirs.hidden_states[-1])
    middle = encoder.run_layers(ours.hidden_states[0], arrays[1], 0, 1)
    assert_close(middle, theirs.hidden_states[1])
    assert_close(encoder.run_layers(middle, arrays[1], 1), theirs.hidden_states[-1])
    assert_close(head(ours.hidden_states[-1], table), theirs.logits)


@pytest.mark.parametrize("family", ["bert", "mobilebert"])
def test_queries_keys_and_values_equal_transformers(family: str, tmp_path: Path) -> None:
    """Caught on their way through the reference's own modules."""
    model = reference(family)
    ids, mask, segments = batch(model)
    projections: dict[str, list[Any]] = {"query": [], "key": [], "value": []}
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] in projections and ".attention.self." in name:
            caught = projections[name.rsplit(".", 1)[-1]]
            module.register_forward_hook(lambda *args, caught=caught: caught.append(args[2]))
    with torch.no_grad():
        model(
            input_ids=torch.tensor(ids),
            attention_mask=torch.tensor(mask),
            token_type_ids=torch.tensor(segments),
        )
    folder = saved(model, tmp_path)
    config = config_from_hugging_face(read_json(folder / "config.json"))
    encoder = build_encoder(config, read_weights(folder))
    ours = encoder.trace(*(jnp.asarray(x) for x in (ids, mask, segments))).attended
    for name, caught in projections.items():
        assert len(caught) == len(ours) == config.num_hidden_layers
        for one, other in zip(ours, caught, strict=True):
            assert_close(getattr(one, name), other)


def test_absent_mask_and_segments_are_ones_and_zeros(tmp_path: Path) -> None:
    model = reference("mobilebert")
    folder = saved(model, tmp_path)
    config = config_from_hugging_face(read_json(folder / "config.json"))
    encoder = build_encoder(config, read_weights(folder))
    ids, _, _ = batch(model)
    with torch.no_grad():
        theirs = model.mobilebert(input_ids=torch.tensor(ids)).last_hidden_state
    assert_close(encoder(jnp.asarray(ids)), theirs)


def test_what_is_masked_changes_no_state(tmp_path: Path) -> None:
    """BERT only: MobileBERT's trigram does see the embedding of one masked neighbour."""
    folder = saved(reference("bert"), tmp_path)
    config = config_from_hugging_face(read_json(folder / "config.json"))
    encoder = build_encoder(config, read_weights(folder))
    ids = jnp.arange(33).reshape(3, 11) + 5
    mask = jnp.broadcast_to(jnp.arange(11) < 6, ids.shape)
    states = encoder(ids, mask)[:, :6]
    np.testing.assert_allclose(encoder(ids.at[:, 6:].set(1), mask)[:, :6], states, atol=1e-5)
    assert np.abs(encoder(ids.at[:, 5].set(1), mask)[:, :5] - states[:, :5]).max() > 1e-2


def test_weight_shapes_are_those_of_transformers(model: Any) -> None:
    config = config_from_hugging_face(model.config.to_dict())
    prefix = f"{config.model_type}."
    encoder = weight_shapes(lambda rngs: Encoder(config, rngs))
    head = weight_shapes(lambda _: MaskedLMHead(config))
    ours = {prefix + name: shape for name, shape in encoder.items()}
    ours |= {HEAD_PREFIX + name: shape for name, shape in head.items()}
    tied = {f"{HEAD_PREFIX}decoder.weight", f"{HEAD_PREFIX}decoder.bias"}
    theirs = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert ours == {name: shape for name, shape in theirs.items() if name not in tied}


@pytest.mark.parametrize("family", ["bert", "mobilebert"])
def test_weights_come_out_as_they_went_in(family: str, tmp_path: Path) -> None:
    folder = saved(reference(family), tmp_path)
    config = config_from_hugging_face(read_json(folder / "config.json"))
    weights = read_weights(folder)
    out = weights_of(build_encoder(config, weights))
    out |= {HEAD_PREFIX + k: v for k, v in weights_of(build_head(config, weights)).items()}
    assert set(out) == set(weights)
    for name, value in out.items():
        np.testing.assert_array_equal(value, weights[name])


@pytest.mark.parametrize("family", ["bert", "mobilebert"])
def test_a_config_of_transformers_defaults_is_read(family: str) -> None:
    """Fields at their default are in the file too; our defaults agree where they are not."""
    theirs = transformers.BertConfig() if family == "bert" else transformers.MobileBertConfig()
    ours = config_from_hugging_face(theirs.to_dict())
    spoken = ours.to_hugging_face(masked_lm=True)
    for name, value in theirs.to_dict().items():
        if name in spoken and "dropout" not in name and name not in ("architectures",):
            expected = False if name == "classifier_activation" else value
            assert spoken[name] == expected, name


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_read(dtype: str, tmp_path: Path) -> None:
    model = reference("bert").to(getattr(torch, dtype))
    weights = read_weights(saved(model, tmp_path))
    for name, value in model.bert.named_parameters():
        assert weights[name].dtype == np.float32
        np.testing.assert_array_equal(weights[name], value.detach().float().numpy())


def test_shards_are_read(tmp_path: Path) -> None:
    model = reference("mobilebert")
    whole = read_weights(saved(model, tmp_path / "whole"))
    folder = saved(model, tmp_path / "shards", max_shard_size="10KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    sharded = read_weights(folder)
    assert set(sharded) == set(whole)
    for name, value in whole.items():
        np.testing.assert_array_equal(sharded[name], value)


def test_names_from_tensorflow_are_read(tmp_path: Path) -> None:
    """bert-base-uncased itself calls a layer norm's weights gamma and beta."""
    model = reference("bert")
    folder = saved(model, tmp_path)
    expected = read_weights(folder)
    path = folder / "model.safetensors"
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in safetensors_torch.load_file(path).items()
    }
    assert any("gamma" in name for name in old)
    safetensors_torch.save_file(old, path, metadata={"format": "pt"})
    renamed = read_weights(folder)
    assert set(renamed) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(renamed[name], value)


@pytest.mark.parametrize("family", ["bert", "mobilebert"])
def test_a_text_longer_than_the_positions_is_refused(family: str, tmp_path: Path) -> None:
    """An index beyond a table is NaN in jax, not an error."""
    folder = saved(reference(family), tmp_path)
    config = config_from_hugging_face(read_json(folder / "config.json"))
    encoder = build_encoder(config, read_weights(folder))
    assert jax.eval_shape(encoder, jnp.ones((1, 16), int)).shape == (1, 16, 32)
    with pytest.raises(ValueError, match="16 tokens at most"):
        jax.eval_shape(encoder, jnp.ones((1, 17), int))


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("bert", {"hidden_size": "32"}, "hidden_size must be a positive integer; got '32'"),
        ("bert", {"hidden_size": None}, "hidden_size must be a positive integer; got None"),
        ("bert", {"num_hidden_layers": 2.0}, "num_hidden_layers must be a positive integer"),
        ("bert", {"vocab_size": True}, "vocab_size must be a positive integer"),
        ("bert", {"num_attention_heads": 5}, "must divide the attention width 32"),
        ("bert", {"hidden_act": "tanh"}, "hidden_act must be one of gelu"),
        ("bert", {"layer_norm_eps": "small"}, "layer_norm_eps must be a number"),
        ("bert", {"is_decoder": True}, "decoder"),
        ("bert", {"position_embedding_type": "relative_key"}, "'absolute'; got 'relative_key'"),
        ("mobilebert", {"intra_bottleneck_size": "16"}, "intra_bottleneck_size must be a positive"),
        ("mobilebert", {"embedding_size": 0}, "embedding_size must be a positive integer"),
        ("mobilebert", {"num_feedforward_networks": 0}, "num_feedforward_networks must be a pos"),
        ("mobilebert", {"normalization_type": "rms"}, "normalization_type must be one of"),
        ("mobilebert", {"key_query_shared_bottleneck": False}, "must equal hidden_size 32"),
        ("distilbert", {}, "model_type must be one of bert, mobilebert; got 'distilbert'"),
    ],
)
def test_configs_that_cannot_be_used(family: str, changes: dict[str, Any], message: str) -> None:
    sizes = {"hidden_size": 32, "intra_bottleneck_size": 16, "embedding_size": 12}
    with pytest.raises(TeacherError, match=message):
        config_from_hugging_face({"model_type": family, **SMALL, **sizes, **changes})


@pytest.mark.parametrize("name", ["hidden_size", "num_hidden_layers", "intermediate_size"])
def test_a_config_without_a_size_is_refused(name: str) -> None:
    raw: dict[str, Any] = {"model_type": "bert", **SMALL, "hidden_size": 32}
    del raw[name]
    with pytest.raises(TeacherError, match=f"lacks {name}"):
        config_from_hugging_face(raw)
