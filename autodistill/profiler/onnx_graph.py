"""An encoder as an ONNX graph, through jax2onnx.

jax2onnx takes time quadratic in the size of a graph (20 s for MobileBERT), so the
embeddings and one block are exported with their weights as inputs, and the graph
of the encoder is the first, then the second once per layer, each with that
layer's weights as initializers.

Axes: B = batch, L = sequence, C = hidden width.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from autodistill.errors import TargetError
from autodistill.models.encoder import Encoder
from autodistill.models.layers import attention_bias
from autodistill.models.platforms import one_form

if TYPE_CHECKING:
    import onnx

IDS, MASK, HIDDEN = "input_ids", "attention_mask", "last_hidden_state"
_STATES, _BIAS = "hidden_states", "attention_bias"


def export_encoder(encoder: Encoder, *, batch_size: int, sequence_length: int) -> "onnx.ModelProto":
    """The graph ``input_ids, attention_mask -> last_hidden_state``.

    Both inputs are int32, (B, L); the output is float32, (B, L, C). Weights are
    initializers.

    Args:
        encoder: With weights, in float32.
        batch_size: B, fixed in the graph.
        sequence_length: L, likewise.

    Raises:
        TargetError: jax2onnx or onnx is not installed.
    """
    to_onnx = load_converter()
    import onnx

    embeddings, embedding_weights = nnx.split(encoder.embeddings)
    layers = [nnx.split(layer) for layer in encoder.encoder.layer]

    def embed(ids: jax.Array, mask: jax.Array, *leaves: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = jax.tree.unflatten(jax.tree.structure(embedding_weights), leaves)
        bias = attention_bias(mask)
        assert bias is not None
        return nnx.merge(embeddings, state)(ids, None), bias

    def block(hidden: jax.Array, bias: jax.Array, *leaves: jax.Array) -> jax.Array:
        definition, weights = layers[0]
        state = jax.tree.unflatten(jax.tree.structure(weights), leaves)
        return nnx.merge(definition, state)(hidden, bias)[0]

    tokens = jax.ShapeDtypeStruct((batch_size, sequence_length), jnp.int32)
    hidden, bias = jax.eval_shape(embed, tokens, tokens, *jax.tree.leaves(embedding_weights))

    def exported(
        function: Any, names: Sequence[str], inputs: Sequence[Any], weights: Any, out: Sequence[str]
    ) -> "onnx.ModelProto":
        leaves = jax.tree.leaves(weights)
        shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
        with one_form():
            return to_onnx(
                function,
                [*inputs, *shapes],
                input_names=[*names, *_weight_names(leaves)],
                output_names=list(out),
            )

    first = exported(embed, (IDS, MASK), (tokens, tokens), embedding_weights, (_STATES, _BIAS))
    each = exported(block, (_STATES, _BIAS), (hidden, bias), layers[0][1], (HIDDEN,))
    whole = onnx.GraphProto(name="encoder")
    whole.input.extend(value for value in first.graph.input if value.name in (IDS, MASK))
    whole.output.append(each.graph.output[0])
    _add(whole, first, "embeddings/", embedding_weights, {IDS: IDS, MASK: MASK})
    states, last = f"embeddings/{_STATES}", len(layers) - 1
    for i, (_, weights) in enumerate(layers):
        after = HIDDEN if i == last else f"layer.{i}/{HIDDEN}"
        names = {_STATES: states, _BIAS: f"embeddings/{_BIAS}", HIDDEN: after}
        _add(whole, each, f"layer.{i}/", weights, names)
        states = after
    return onnx.helper.make_model(
        whole, opset_imports=each.opset_import, ir_version=each.ir_version
    )


def _add(
    whole: "onnx.GraphProto",
    part: "onnx.ModelProto",
    prefix: str,
    weights: Any,
    names: Mapping[str, str],
) -> None:
    """Append a copy of ``part``; names get the prefix, but for those given."""
    import onnx

    if part.functions:
        raise NotImplementedError("jax2onnx made functions, which are not copied")
    for initializer in part.graph.initializer:
        copy = onnx.TensorProto()
        copy.CopyFrom(initializer)
        copy.name = prefix + initializer.name
        whole.initializer.append(copy)
    leaves = jax.tree.leaves(weights)
    for name, leaf in zip(_weight_names(leaves), leaves, strict=True):
        whole.initializer.append(onnx.numpy_helper.from_array(np.asarray(leaf), prefix + name))
    for node in part.graph.node:
        added = whole.node.add()
        added.CopyFrom(node)
        added.name = prefix + node.name
        # an empty name stands for an optional input that is absent
        added.input[:] = [name and names.get(name, prefix + name) for name in node.input]
        added.output[:] = [name and names.get(name, prefix + name) for name in node.output]


def _weight_names(leaves: Sequence[Any]) -> list[str]:
    return [f"weight_{i}" for i in range(len(leaves))]


def require_packages(*others: str) -> None:
    """Say how to install what exporting needs, and ``others``.

    Raises:
        TargetError: One of them is not installed.
    """
    missing = [name for name in (*others, "jax2onnx", "onnx") if find_spec(name) is None]
    if missing:
        raise TargetError(
            f"ONNX needs packages that are not installed ({', '.join(missing)}): "
            'pip install "autodistill-nas[onnx]"'
        )


@cache
def load_converter() -> Any:
    """jax2onnx's ``to_onnx``, used once, as that loads its parts: seconds the first time.

    Raises:
        TargetError: jax2onnx or onnx is not installed.
    """
    require_packages()
    from jax2onnx import to_onnx

    to_onnx(jnp.negative, [jax.ShapeDtypeStruct((1,), jnp.float32)])
    return to_onnx
