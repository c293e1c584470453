"""Problems that optimisers are compared on: public measurements in the place of experiments.

``hwgpt-*``: HW-GPT-Bench, scale m. Log perplexity and log latency on one device;
the embedding, the number of layers (22 to 24), biases, and heads and width of every
layer, 10^23 architectures. A ridge regression fitted on all rows of the benchmark
stands for the experiment, so that any architecture can be asked about. It is
additive in the layers, one set of weights for each embedding width; its
cross-validated R^2 is part of the record. ``hwgpt-h100-noisy`` adds noise to the
perplexity and gives its standard error to those who ask.

``fbnet``: latencies of 5,000 FBNet architectures on two unlike devices (HELP).

``mobilebert``: the space of that name, latency on TPUv4i from this repository's
table, and a law of accuracy fitted to six published models: for limits and the size
of the space only, its absolute values mean nothing. The scores were looked up (see
``PUBLISHED``); what the two categories add to them is a guess.

All values are minimised. Axes: n = architectures, m = objectives.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict

from autodistill.search.acquisition import hypervolume, nondominated
from autodistill.search.evolution import evolve
from autodistill.space import Architecture, SearchSpace
from autodistill.space.cost import encoder_cost, encoder_features
from predictors import GPPredictor, read_table

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TABLE = Path(__file__).resolve().parents[1] / "data" / "latency" / "tpu-v4i.csv"
LAYERS, EMBEDDINGS, DEPTHS = 24, (256, 512, 1024), (22, 23, 24)
HEADS, RATIOS = (8, 12, 16), (2, 3, 4)
PROFILED = 200  # rows of a latency table that the known objective is fitted on
NOISE = 0.005  # of log perplexity, half of its spread among architectures of one width
FBNET_DEVICES = ("1080ti_32", "gold_6226")  # a GPU and a CPU: of all pairs the longest front

Values = Callable[[Sequence[Architecture]], np.ndarray]


@dataclass(frozen=True)
class Problem:
    """What is optimised, and what is known of it beforehand.

    Attributes:
        space: Where.
        values: (n, m) of architectures, without noise.
        features: What our search is told of architectures.
        known: Objectives that a latency table foretells.
        limits: Constraints of the search, by name or column.
        quantities: What the names mean.
        noise_std: (m,) of each evaluation; zeros where it is exact.
        front: (f, m), of a search that may ask as much as it likes.
        span: The values that count as 0 and as 1, (m,) each; the reference lies at 1.1.
        peer_space: What peers work in, where the space is a table of numbered rows.
        of_peers: The row of the table that is nearest to a member of that space.
        facts: For the record.
    """

    space: SearchSpace
    values: Values
    features: Values | None
    known: dict[int, Callable[[Sequence[Architecture]], tuple[np.ndarray, np.ndarray]]]
    front: np.ndarray
    noise_std: np.ndarray
    span: tuple[np.ndarray, np.ndarray]
    peer_space: SearchSpace | None = None
    of_peers: Callable[[Architecture], Architecture] = lambda member: member
    limits: dict[Any, float] = field(default_factory=dict)
    quantities: dict[str, Values] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def feasible(self, architectures: Sequence[Architecture], values: np.ndarray) -> np.ndarray:
        """(n,) whether all limits are kept."""
        within = np.ones(len(architectures), bool)
        for name, limit in self.limits.items():
            found = (
                self.quantities[name](architectures) if isinstance(name, str) else values[:, name]
            )
            within &= found <= limit
        return within

    def share(self, values: np.ndarray, front: np.ndarray) -> float:
        """Hypervolume of points as a share of a front's."""
        low, high = self.span
        scaled = [(points - low) / (high - low) for points in (values, front)]
        reference = np.full(len(low), 1.1)
        return hypervolume(scaled[0], reference) / hypervolume(scaled[1], reference)


def make_problem(name: str) -> Problem:
    """The problem of that name.

    Raises:
        KeyError: No such problem.
    """
    return PROBLEMS[name]()


# -- HW-GPT-Bench ------------------------------------------------------------


def hwgpt_space() -> SearchSpace:
    """Heads and widths of the layers 23 and 24 exist only where the layers do."""
    choices: dict[str, Sequence[Any]] = {
        "embed_dim": EMBEDDINGS, "n_layer": DEPTHS, "bias": (False, True)
    }  # fmt: skip
    conditions: dict[str, tuple[str, set]] = {}
    for what, values in (("n_head", HEADS), ("mlp_ratio", RATIOS)):
        for layer in range(LAYERS):
            choices[f"{what}_{layer}"] = values
            if layer >= min(DEPTHS):
                conditions[f"{what}_{layer}"] = ("n_layer", {d for d in DEPTHS if d > layer})
    return SearchSpace(choices, conditions=conditions, name="hwgpt-m")


@dataclass(frozen=True)
class HwGptRows:
    """Architectures as arrays; layers that are not there are 0."""

    embed: np.ndarray  # (n,)
    layers: np.ndarray  # (n,)
    heads: np.ndarray  # (n, 24)
    ratios: np.ndarray  # (n, 24)
    bias: np.ndarray  # (n,)

    @classmethod
    def of(cls, architectures: Sequence[Architecture]) -> "HwGptRows":
        """Read from members of the space."""
        layers = np.array([a["n_layer"] for a in architectures])
        there = np.arange(LAYERS) < layers[:, None]
        per_layer = [
            np.array([[a[f"{what}_{i}"] for i in range(LAYERS)] for a in architectures]) * there
            for what in ("n_head", "mlp_ratio")
        ]
        embed = np.array([a["embed_dim"] for a in architectures])
        return cls(embed, layers, *per_layer, np.array([a["bias"] for a in architectures], float))

    @classmethod
    def of_file(cls, content: Any) -> "HwGptRows":
        """Read from a file of the benchmark."""
        names = ("embed_dim", "n_layer", "n_head", "mlp_ratio", "bias")
        return cls(*(content[name].astype(float) for name in names))

    def design(self) -> np.ndarray:  # (n, columns)
        """One-hot choices of every layer, apart for each embedding width."""
        hot = [self.layers[:, None] == np.array(DEPTHS)]
        hot += [self.heads == value for value in HEADS] + [self.ratios == v for v in RATIOS]
        base = np.hstack([*hot, self.bias[:, None], np.ones((len(self.bias), 1))]).astype(float)
        return np.hstack([base * (self.embed == e)[:, None] for e in EMBEDDINGS])

    def features(self) -> np.ndarray:  # (n, 8)
        """What is plain of a transformer: size, shape, and where its weight lies."""
        there = np.arange(LAYERS) < self.layers[:, None]
        depth = (np.arange(LAYERS) / (self.layers[:, None] - 1) - 0.5) * there
        parameters = self.embed**2 * (4 * self.layers + 2 * self.ratios.sum(1))
        columns = (
            np.log(parameters),
            np.log(self.embed),
            self.layers,
            self.ratios.sum(1) / self.layers,
            self.heads.sum(1) / self.layers,
            (self.ratios * depth).sum(1) / self.layers,
            (self.heads * depth).sum(1) / self.layers,
            self.bias,
        )
        return np.stack(columns, axis=1).astype(float)


def hwgpt(device: str, *, noise: float = 0.0) -> Problem:
    """Log perplexity and log latency on one device."""
    space = hwgpt_space()
    folder = DATA / "hwgptbench"
    with np.load(folder / "hwgpt_m_perplexity.npz") as content:
        rows, log_perplexity = HwGptRows.of_file(content), np.log(content["perplexity"])
        perplexity, quality_r2 = _regression(rows, log_perplexity)
    with np.load(folder / "hwgpt_m_latency_energy.npz") as content:
        column = content["devices"].tolist().index(device)
        measured = np.log(content["latency_median_ms"][:, column].astype(float))
        rows = HwGptRows.of_file(content)
        latency, latency_r2 = _regression(rows, measured)

    def values(architectures: Sequence[Architecture]) -> np.ndarray:
        x = HwGptRows.of(architectures).design()
        return np.stack([perplexity.predict(x), latency.predict(x)], axis=1)

    front = _true_front(space, values, _weighted_optima(space, perplexity, latency))
    profiled = np.random.default_rng(0).choice(len(measured), PROFILED, replace=False)
    model = GPPredictor().fit(rows.features()[profiled], measured[profiled])
    return Problem(
        space,
        values,
        lambda architectures: HwGptRows.of(architectures).features(),
        {
            1: lambda architectures: model.predict(
                HwGptRows.of(architectures).features(), return_std=True
            )
        },
        front,
        np.array([noise, 0.0]),
        (front.min(0), front.max(0)),
        facts={
            "cross_validated_r2": {"log perplexity": quality_r2, "log latency": latency_r2},
            "device": device,
            "latency_model_rows": PROFILED,
        },
    )


def _regression(rows: HwGptRows, y: np.ndarray) -> tuple[RidgeCV, dict[str, float]]:
    """The regression on all rows, and its R^2 in ten folds, over all and at each width."""
    x = rows.design()
    ridge = RidgeCV(np.logspace(-3, 3, 13))
    predicted = cross_val_predict(ridge, x, y, cv=10)

    def r2(chosen: np.ndarray) -> float:
        residual = (y - predicted)[chosen]
        return round(
            float(1 - (residual**2).sum() / ((y[chosen] - y[chosen].mean()) ** 2).sum()), 5
        )

    scores = {f"embed_dim {e}": r2(rows.embed == e) for e in EMBEDDINGS}
    return ridge.fit(x, y), {"all": r2(rows.embed > 0), **scores}


def _weighted_optima(space: SearchSpace, first: RidgeCV, second: RidgeCV) -> list[Architecture]:
    """Minima of weighted sums: exact, layer by layer, as the regressions are additive."""
    width = len(first.coef_) // len(EMBEDDINGS)
    found: list[Architecture] = []
    for weight in (0.0, *np.logspace(-5, 3, 400), 1e9):
        coefficients = first.coef_ + weight * second.coef_
        for i in range(len(EMBEDDINGS)):
            part = coefficients[i * width : (i + 1) * width]
            heads = part[3:75].reshape(3, LAYERS).argmin(0)
            ratios = part[75:147].reshape(3, LAYERS).argmin(0)
            for depth in DEPTHS:
                row = [i, DEPTHS.index(depth), int(part[147] < 0), *heads, *ratios]
                settled = space.conditions.settle(np.array([row]))
                found += space.from_rows(settled)
    return list(dict.fromkeys(found))


def _true_front(space: SearchSpace, values: Values, start: list[Architecture]) -> np.ndarray:
    """Of a long evolution from the best that is known."""
    known = values(start)
    best = [start[i] for i in nondominated(known)]
    found = evolve(
        space,
        values,
        excess=lambda architectures: np.zeros(len(architectures)),
        objectives=2,
        start=best,
        population=max(200, len(best)),
        generations=15,
        seed=0,
    )
    both = np.vstack([known, values(found)])
    return np.unique(both[nondominated(both)].round(9), axis=0)


# -- FBNet -------------------------------------------------------------------


def fbnet() -> Problem:
    """Two latencies of 5,000 architectures, numbered."""
    with np.load(DATA / "help" / "fbnet.npz") as content:
        devices = content["devices"].tolist()
        latency = np.log(content["latency"][:, [devices.index(d) for d in FBNET_DEVICES]])
        operations, names = content["arch_ops"], content["op_names"].tolist()
    stages = np.array_split(np.arange(operations.shape[1]), 7)
    kernel = np.array([int(n[1]) if n != "skip" else 0 for n in names], float)[operations]
    expand = np.array([int(n.split("_e")[1][0]) if n != "skip" else 0 for n in names], float)
    expand = expand[operations]
    features = np.hstack(
        [
            np.eye(len(names))[operations].sum(axis=1),
            *(expand[:, stage].sum(axis=1, keepdims=True) for stage in stages),
            *((kernel * expand)[:, stage].sum(axis=1, keepdims=True) for stage in stages),
        ]
    )

    whole = SearchSpace({f"op_{i}": names for i in range(operations.shape[1])}, name="fbnet-ops")

    def nearest(member: Architecture) -> Architecture:
        row = whole.to_indices([member])[0]
        return Architecture(number=int((operations != row).sum(axis=1).argmin()))

    def number(architectures: Sequence[Architecture]) -> np.ndarray:
        return np.array([int(a["number"]) for a in architectures])

    return Problem(
        SearchSpace({"number": list(range(len(latency)))}, name="fbnet"),
        lambda architectures: latency[number(architectures)],
        lambda architectures: features[number(architectures)],
        {},
        latency[nondominated(latency)],
        np.zeros(2),
        (latency.min(0), np.median(latency, axis=0)),
        whole,
        nearest,
        facts={"devices": FBNET_DEVICES},
    )


# -- MobileBERT on TPUv4i ----------------------------------------------------

# GLUE test scores of published encoders: layers, hidden size, millions of parameters in
# the blocks (counted), score. The first four from the model cards of the BERT miniatures
# (https://huggingface.co/google/bert_uncased_L-2_H-128_A-2, Turc et al. 2019); MobileBERT
# and, 0.6 above it, BERT-base from the abstract of Sun et al. 2020,
# https://arxiv.org/abs/2004.02984.
PUBLISHED = (
    (2, 128, 0.4, 64.2),
    (4, 256, 3.2, 65.8),
    (4, 512, 12.6, 71.2),
    (8, 512, 25.2, 73.5),
    (12, 768, 85.1, 78.3),
    (24, 512, 20.4, 77.7),
)
MOST_PARAMETERS, MOST_MS = 20e6, 0.6


def mobilebert() -> Problem:
    """Error by a law, latency by a table; at most 20M parameters and 0.6 ms."""
    space = SearchSpace.preset("mobilebert")
    table = [row for row in read_table(TABLE).measured if row.batch_size == 1]
    members = [
        (Architecture({f: row.architecture[f] for f in space.fields}), row.latency_ms)
        for row in table
        if all(f in row.architecture for f in space.fields)
    ]
    members = [(a, ms) for a, ms in members if a in space]
    described = _encoder_features([a for a, _ in members])
    model = GPPredictor(log_target=True).fit(described, [ms for _, ms in members])
    published = np.array(PUBLISHED)
    design = np.stack([np.ones(6), np.log(published[:, 2]), np.log(published[:, 0])], axis=1)
    law = np.linalg.lstsq(design, published[:, 3], rcond=None)[0]

    def values(architectures: Sequence[Architecture]) -> np.ndarray:
        cost = [_cost(a) for a in architectures]
        millions = np.array([c.encoder_parameters for c in cost]) / 1e6
        layers = np.array([int(a["num_hidden_layers"]) for a in architectures])
        score = np.stack([np.ones(len(cost)), np.log(millions), np.log(layers)], axis=1) @ law
        gelu = np.array([a["hidden_act"] == "gelu" for a in architectures])
        norm = np.array([a["normalization_type"] == "layer_norm" for a in architectures])
        error = 100 - score - 0.3 * gelu - 0.4 * norm  # guessed: something that is no count
        return np.stack([error, model.predict(_encoder_features(architectures))], axis=1)

    def parameters(architectures: Sequence[Architecture]) -> np.ndarray:
        return np.array([_cost(a).parameters for a in architectures], float)

    def over(architectures: Sequence[Architecture]) -> np.ndarray:
        ms = model.predict(_encoder_features(architectures))
        return np.maximum(parameters(architectures) / MOST_PARAMETERS, ms / MOST_MS) - 1

    found = evolve(
        space, values, excess=over, objectives=2, start=[], population=200, generations=150, seed=0
    )
    front = values([a for a, o in zip(found, over(found), strict=True) if o <= 0])
    front = front[nondominated(front)]
    return Problem(
        space,
        values,
        None,
        {1: lambda a: model.predict(_encoder_features(a), return_std=True)},
        front,
        np.zeros(2),
        (front.min(0), front.max(0)),
        limits={"parameters": MOST_PARAMETERS, 1: MOST_MS},
        quantities={"parameters": parameters},
        facts={"latency_rows": len(members), "law": law.tolist()},
    )


@lru_cache(maxsize=200_000)
def _cost(architecture: Architecture) -> Any:
    return encoder_cost(architecture, family="mobilebert", vocab_size=30522)


def _encoder_features(architectures: Sequence[Architecture]) -> np.ndarray:
    counts = encoder_features(architectures, family="mobilebert", vocab_size=30522)
    own = [
        [
            np.log(int(a["num_feedforward_networks"])),
            np.log(int(a["num_attention_heads"])),
            a["normalization_type"] == "layer_norm",
            a["hidden_act"] == "gelu",
        ]
        for a in architectures
    ]
    return np.hstack([counts, np.array(own, float).reshape(-1, 4)])


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "hwgpt-h100": lambda: hwgpt("h100"),
    "hwgpt-cpu": lambda: hwgpt("helix_cpu"),
    "hwgpt-h100-noisy": lambda: hwgpt("h100", noise=NOISE),
    "fbnet": fbnet,
    "mobilebert": mobilebert,
    # For development alone: what is reported was not tuned on.
    "hwgpt-a40": lambda: hwgpt("a40"),
    "hwgpt-v100": lambda: hwgpt("v100"),
}
