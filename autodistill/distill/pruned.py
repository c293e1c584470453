"""Begin as the teacher cut to the student's size: structured pruning of a BERT.

A student that differs from its teacher in depth alone can copy whole layers. A smaller one
gets of each layer the hidden units, heads and neurons that tell most:

* Hidden units: those from which all others follow best, over all layers that are taken, by
  QR with column pivoting of the states' covariance.
* Where units are gone, what a layer of the teacher reads is made up from the student's own
  states by ridge regression, and that map is multiplied into the layer's weights.
* Heads: those that change states most. A head that must be narrower keeps the directions in
  which its scores, and what it adds to the states, are largest (singular vectors).
* Neurons: those that change states most. The mean of values and neurons that are cut stays,
  in a bias.

Whatever the student has beyond its teacher's size begins silent. Where nothing is cut, the
weights are the teacher's. What layers put out is not fitted again: that begins nearer to the
teacher and ends further from it (3 x 192 of MiniLM, 1,000 steps of 64 x 32 tokens, recipe
``embedding``: fidelity .421 to .683, fitted .455 to .674; from word meanings .519 to .638).

Axes: n = tokens, D = hidden width of the teacher, d = of the student.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import qr

from autodistill.corpus import mask_tokens
from autodistill.distill import layer_map as maps
from autodistill.distill.linear import Ridge, fit_ridge
from autodistill.distill.passage_set import PassageSet
from autodistill.distill.start import random_weights
from autodistill.models.bert import BertEmbeddings, BertLayer
from autodistill.models.checkpoint import HEAD_PREFIX, build
from autodistill.models.config import BertConfig, EncoderConfig
from autodistill.models.encoder import Encoder
from autodistill.models.layers import attention_bias
from autodistill.teacher import Teacher

TOKENS = 32_768  # with padding, that the teacher reads for it
PENALTY = 1e-3  # of the ridges: many tokens, few units

Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Layer:
    """States on the way through one layer of the teacher: of real tokens, (n, width)."""

    read: np.ndarray
    attended: np.ndarray  # after attention and its norm
    neurons: np.ndarray
    put_out: np.ndarray


def pruned_weights(
    teacher: Teacher,
    config: EncoderConfig,
    passages: PassageSet,
    rng: np.random.Generator,
    *,
    head: bool,
) -> Weights:
    """All weights of a student, by checkpoint name.

    Args:
        teacher: A BERT, with a head if ``head``.
        config: The student's shape: a BERT, no deeper and no wider.
        passages: Read by both, to see what tells most.
        rng: For what has no counterpart.
        head: Whether there is a masked-LM head.
    """
    shape, weights = teacher.config, teacher.weights
    assert isinstance(shape, BertConfig) and isinstance(config, BertConfig), "checked by the recipe"
    count = max(TOKENS // passages.input_ids.shape[1], 1)
    ids, mask = passages.input_ids[:count], passages.attention_mask[:count]
    if head:  # it is read at hidden words
        ids = mask_tokens(
            ids, mask, seed=0, step=0, special=teacher.special, vocab_size=shape.vocab_size
        ).input_ids
    chosen = [i for i in maps.uniform(config.num_hidden_layers, shape.num_hidden_layers) if i]
    units = _most_telling(teacher.encoder, ids, mask, chosen, config.hidden_size)

    pruned = random_weights(config, rng, head=head)
    _cut_embeddings(pruned, weights, units)
    bias, real = attention_bias(jnp.asarray(mask)), mask > 0
    states = build(lambda rngs: BertEmbeddings(config, rngs), pruned, prefix="embeddings.")(
        jnp.asarray(ids), None
    )
    layers = _layers(teacher.encoder, ids, mask)
    of_chosen = ((number, one) for number, one in layers if number in chosen)
    for i, (number, layer) in enumerate(of_chosen):
        ours = _Part(pruned, f"encoder.layer.{i}.", config)
        theirs = _Part(weights, f"encoder.layer.{number - 1}.", shape)
        _cut_attention(ours, theirs, units, _made_up(states[real], units, layer.read), layer.read)
        states = ours.module().attention(states, states, states, bias)[0]
        made_up = _made_up(states[real], units, layer.attended)
        _cut_feed_forward(ours, theirs, units, made_up, layer.neurons)
        module = ours.module()
        states = module.output(module.intermediate(states), states)
        if head and i == len(chosen) - 1:
            _cut_head(pruned, weights, units, _made_up(states[real], units, layer.put_out))
    return pruned


@dataclass(frozen=True)
class _Part:
    """The weights of one layer."""

    weights: Mapping[str, np.ndarray]
    prefix: str
    config: BertConfig

    def __getitem__(self, name: str) -> np.ndarray:
        return self.weights[self.prefix + name]

    @property
    def heads(self) -> tuple[int, int]:
        """How many, and how wide."""
        return self.config.num_attention_heads, self.config.head_size

    def module(self) -> BertLayer:
        """That computes."""
        return build(lambda _: BertLayer(self.config), self.weights, prefix=self.prefix)


def _layers(encoder: Encoder, ids: np.ndarray, mask: np.ndarray) -> Iterator[tuple[int, _Layer]]:
    """What passes through each layer, counted from 1; one at a time, as they are large."""
    bias, real = attention_bias(jnp.asarray(mask)), mask > 0
    states = encoder.embeddings(jnp.asarray(ids), None)
    for number, layer in enumerate(encoder.encoder.layer, 1):
        attended, _ = layer.attention(states, states, states, bias)
        neurons = layer.intermediate(attended)
        put_out = layer.output(neurons, attended)
        parts = (states, attended, neurons, put_out)
        yield number, _Layer(*(np.asarray(part, np.float32)[real] for part in parts))
        states = put_out


def _most_telling(
    encoder: Encoder, ids: np.ndarray, mask: np.ndarray, chosen: list[int], count: int
) -> np.ndarray:  # (d,)
    """The units from which the others follow best, in their order.

    Over what the first layer reads and what the chosen ones put out, each of one size.
    """
    states, covariance = encoder.embeddings(jnp.asarray(ids), None), np.zeros(())
    for begin, end in pairwise((0, 0, *chosen)):
        states = encoder.run_layers(states, jnp.asarray(mask), begin, end)
        own = np.cov(np.asarray(states, np.float64)[mask > 0].T)
        covariance = covariance + own / max(np.trace(own), 1e-12)
    root, _ = _root_and_inverse(covariance)
    order = qr(root, mode="r", pivoting=True)[1]
    return np.sort(order[:count])


def _made_up(ours: jax.Array, units: np.ndarray, theirs: np.ndarray) -> Ridge:
    """All units of the teacher from those of the student; the same where it has all."""
    width = theirs.shape[1]
    if len(units) == width:
        return Ridge(np.eye(width, dtype=np.float32), np.zeros(width, np.float32))
    return fit_ridge(np.asarray(ours, np.float32), theirs, penalty=PENALTY)


def _cut_embeddings(pruned: Weights, weights: Mapping[str, np.ndarray], units: np.ndarray) -> None:
    for name, value in pruned.items():
        if name.startswith("embeddings."):
            value[:] = weights[name][..., units][: len(value)]


def _cut_attention(
    ours: _Part, theirs: _Part, units: np.ndarray, made_up: Ridge, read: np.ndarray
) -> None:
    (count, size), (their_count, their_size) = ours.heads, theirs.heads
    output = theirs["attention.output.dense.weight"][units]  # (d, D)
    projected = {
        name: _projected(theirs, f"attention.self.{name}", read)
        for name in ("query", "key", "value")
    }
    rows = [slice(i * their_size, (i + 1) * their_size) for i in range(their_count)]
    moving = projected["value"] - projected["value"].mean(0)  # the mean is kept, whatever is cut
    added = [np.square(moving[:, own] @ output[:, own].T).sum() for own in rows]
    kept = np.sort(np.argsort(added)[::-1][:count])

    lost = output.T.copy()  # of what values add: their mean is a constant, and stays
    # what has no counterpart is silent: keys that no query asks for, values that nobody reads
    ours["attention.self.query.weight"][:] = 0.0
    ours["attention.output.dense.weight"][:] = 0.0
    for place, head in enumerate(kept):
        own = rows[head]
        taken = slice(place * size, place * size + min(size, their_size))
        q, k, v = (one[:, own] for one in projected.values())
        queries, keys = _narrowed(q, k, size)
        scale = np.float32((size / their_size) ** 0.5)  # scores are divided by the root of the size
        values, outputs = _narrowed_values(v, output[:, own].T, size)
        for name, basis in (("query", scale * queries), ("key", keys), ("value", values)):
            dense = f"attention.self.{name}"
            weight, shift = theirs[f"{dense}.weight"][own], theirs[f"{dense}.bias"][own]
            ours[f"{dense}.weight"][taken] = (made_up.kernel @ weight.T @ basis).T
            ours[f"{dense}.bias"][taken] = (made_up.bias @ weight.T + shift) @ basis
        ours["attention.output.dense.weight"][:, taken] = outputs.T
        lost[own] -= values @ outputs
    _copy_units(ours, theirs, "attention.output", units)
    ours["attention.output.dense.bias"][:] += projected["value"].mean(0) @ lost


def _cut_feed_forward(
    ours: _Part, theirs: _Part, units: np.ndarray, made_up: Ridge, neurons: np.ndarray
) -> None:
    inner, output = theirs["intermediate.dense.weight"], theirs["output.dense.weight"][units]
    added = neurons.std(0) * np.linalg.norm(output, axis=0)
    kept = np.sort(np.argsort(added)[::-1][: ours.config.intermediate_size])
    taken = slice(len(kept))
    ours["intermediate.dense.weight"][taken] = (made_up.kernel @ inner[kept].T).T
    ours["intermediate.dense.bias"][taken] = (
        made_up.bias @ inner[kept].T + theirs["intermediate.dense.bias"][kept]
    )
    ours["output.dense.weight"][:] = 0.0
    ours["output.dense.weight"][:, taken] = output[:, kept]
    _copy_units(ours, theirs, "output", units)
    lost = np.delete(np.arange(len(added)), kept)
    ours["output.dense.bias"][:] += output[:, lost] @ neurons[:, lost].mean(0)


def _cut_head(
    pruned: Weights, weights: Mapping[str, np.ndarray], units: np.ndarray, made_up: Ridge
) -> None:
    dense = weights[HEAD_PREFIX + "transform.dense.weight"][units]
    pruned[HEAD_PREFIX + "transform.dense.weight"][:] = (made_up.kernel @ dense.T).T
    pruned[HEAD_PREFIX + "transform.dense.bias"][:] = (
        weights[HEAD_PREFIX + "transform.dense.bias"][units] + made_up.bias @ dense.T
    )
    for part in ("weight", "bias"):
        name = HEAD_PREFIX + f"transform.LayerNorm.{part}"
        pruned[name][:] = weights[name][units]
    pruned[HEAD_PREFIX + "bias"][:] = weights[HEAD_PREFIX + "bias"]


def _copy_units(ours: _Part, theirs: _Part, name: str, units: np.ndarray) -> None:
    for part in ("dense.bias", "LayerNorm.weight", "LayerNorm.bias"):
        ours[f"{name}.{part}"][:] = theirs[f"{name}.{part}"][units]


def _projected(part: _Part, name: str, read: np.ndarray) -> np.ndarray:
    return np.asarray(read @ part[f"{name}.weight"].T + part[f"{name}.bias"])


def _narrowed(
    queries: np.ndarray, keys: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:  # (n, h), (n, h) -> (h, size), (h, size)
    """Maps of queries and keys to few directions that keep their products best.

    A part of the keys that is common to all shifts all scores of a query alike, and so
    counts for nothing.
    """
    width = queries.shape[1]
    if size >= width:
        return (np.eye(width, dtype=np.float32),) * 2
    of_queries, from_queries = _root_and_inverse(queries.T @ queries / len(queries))
    of_keys, from_keys = _root_and_inverse(np.cov(keys.T))
    left, sizes, right = np.linalg.svd(of_queries @ of_keys)
    roots = np.sqrt(sizes[:size])
    return (
        (from_queries @ left[:, :size] * roots).astype(np.float32),
        (from_keys @ right[:size].T * roots).astype(np.float32),
    )


def _narrowed_values(
    values: np.ndarray, output: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:  # (n, h), (h, d) -> (h, size), (size, d)
    """Maps of values to few directions, and of these to states, that keep what is added best."""
    width = values.shape[1]
    if size >= width:
        return np.eye(width, dtype=np.float32), output
    root, inverse = _root_and_inverse(np.cov(values.T))
    left, sizes, right = np.linalg.svd(root @ output, full_matrices=False)
    roots = np.sqrt(sizes[:size])
    return (
        (inverse @ left[:, :size] * roots).astype(np.float32),
        (roots[:, None] * right[:size]).astype(np.float32),
    )


def _root_and_inverse(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric square root and its inverse; directions of nearly no variance get a little."""
    sizes, directions = np.linalg.eigh(covariance.astype(np.float64))
    roots = np.sqrt(sizes.clip(max(1e-8 * float(sizes.max()), 1e-12)))
    return (directions * roots) @ directions.T, (directions / roots) @ directions.T
