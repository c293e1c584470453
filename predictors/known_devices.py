"""Everything that is kept of the known devices, once their tables have been read.

Notation: u_s is source s's target on the modelled scale, its mean removed: log y,
or y in units of its standard deviation.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from predictors.column_range import ColumnRange
from predictors.device_bases import DeviceBases, device_bases
from predictors.device_kernels import (
    KERNELS,
    REFERENCE_ROWS,
    TINY,
    Described,
    DeviceKernels,
)
from predictors.device_prior import EXPLAINED_ROWS, TYPICAL, explain
from predictors.device_tables import Table
from predictors.inputs import default_names
from predictors.protocol import FloatArray
from predictors.scaling import InputScale, TargetScale
from predictors.source_model import SourceModel, fit_source
from predictors.state import flag, numbers
from predictors.threads import one_blas_thread

RELATED = 0.8  # correlation of two sources' models


@dataclass(frozen=True)
class KnownDevices:
    """The sources, their kernels, and how they differ among themselves.

    Attributes:
        names: Of the devices, (s,).
        columns: Names of the columns, (d,).
        column_range: Of all their rows.
        log: Whether u is log y.
        models: One for each source.
        scales: How each source's y becomes its u.
        centres: (s,) mean of each model over the reference rows.
        kernels: See ``device_kernels``.
        examples: (s + 1, kernels + 1), see ``device_prior``.
    """

    names: tuple[str, ...]
    columns: tuple[str, ...]
    column_range: ColumnRange
    log: bool
    models: tuple[SourceModel, ...]
    scales: tuple[TargetScale, ...]
    centres: FloatArray
    kernels: DeviceKernels
    examples: FloatArray

    @classmethod
    def learn(
        cls,
        tables: Mapping[str, Table],
        columns: tuple[str, ...],
        *,
        log: bool,
        rng: np.random.RandomState,
        computed: Collection[str] = (),
    ) -> "KnownDevices":
        """Fit a model to each table, then explain each measured source by the others."""
        scales = tuple(device_scale(y, log=log) for _, y in tables.values())
        targets = [scale.apply(y) for scale, (_, y) in zip(scales, tables.values(), strict=True)]
        seen = ColumnRange.of(np.vstack([rows for rows, _ in tables.values()]))
        with one_blas_thread():
            models = tuple(
                fit_source(rows, u, rng)
                for (rows, _), u in zip(tables.values(), targets, strict=True)
            )
            sample = _evenly([rows for rows, _ in tables.values()], rng)
            relevance = np.stack(
                [
                    _correlations(rows, u)
                    for (rows, _), u in zip(tables.values(), targets, strict=True)
                ],
                axis=1,
            )
            known = cls._assemble(
                tuple(tables), columns, seen, log, models, scales, sample, relevance
            )
            examples = [TYPICAL]
            if len(tables) > 1:
                for source, (name, (rows, _)) in enumerate(tables.items()):
                    if name in computed:
                        continue
                    chosen = np.sort(rng.permutation(len(rows))[:EXPLAINED_ROWS])
                    described = known.describe(rows[chosen])
                    for kept in known.strangers(source):
                        others = Described(described.x, described.g[:, kept])
                        kernels = known.kernels.only(kept)
                        bases = device_bases(kernels, log=log)
                        examples.append(explain(kernels, others, targets[source][chosen], bases))
        return replace(known, examples=np.array(examples))

    @classmethod
    def _assemble(
        cls,
        names: tuple[str, ...],
        columns: tuple[str, ...],
        column_range: ColumnRange,
        log: bool,
        models: tuple[SourceModel, ...],
        scales: tuple[TargetScale, ...],
        sample: FloatArray,  # (rows, d)
        relevance: FloatArray,  # (d, s)
    ) -> "KnownDevices":
        said = np.stack([model.predict(sample) for model in models], axis=1)
        centres, spreads = said.mean(axis=0), said.std(axis=0)
        input_scale = InputScale.of(sample)
        effects = np.stack([model.additive.weights for model in models], axis=1)
        profiles = effects * input_scale.scale[:, None] / np.where(spreads > 0, spreads, 1.0)
        reference = Described(input_scale.apply(sample), said - centres)
        kernels = DeviceKernels(input_scale, profiles, relevance, spreads, reference)
        return cls(
            names, columns, column_range, log, models, scales, centres, kernels, TYPICAL[None]
        )

    def strangers(self, source: int) -> list[np.ndarray]:  # each (s,) of bool
        """The sources that remain if one is taken for new: all others, and no relatives.

        Devices come in families; a new one may belong to none of them. Relatives
        are sources whose models correlate above ``RELATED`` with this one.
        """
        others = np.arange(len(self.models)) != source
        g = self.kernels.reference.g
        size = np.maximum(np.linalg.norm(g, axis=0), TINY)
        alike = (g.T @ g[:, source]) / (size * size[source])
        strange = others & (alike < RELATED)
        same = (strange == others).all() or not strange.any()
        return [others] if same else [others, strange]

    @cached_property
    def bases(self) -> DeviceBases:
        """What a new device may deviate from."""
        return device_bases(self.kernels, log=self.log)

    @property
    def named(self) -> bool:
        """Whether the columns have names of their own, not x0, x1, ..."""
        return self.columns != default_names(len(self.columns))

    def describe(self, rows: FloatArray) -> Described:  # (n, d)
        """The rows as the kernels see them."""
        said = np.stack([model.predict(rows) for model in self.models], axis=1)
        return Described(self.kernels.input_scale.apply(rows), said - self.centres)

    def to_state(self) -> dict[str, Any]:
        """Everything, as values that JSON can hold."""
        scale, reference = self.kernels.input_scale, self.kernels.reference
        return {
            "names": list(self.names),
            "columns": list(self.columns),
            "column_range": self.column_range.to_state(),
            "log": self.log,
            "models": [model.to_state() for model in self.models],
            "scales": [scale.to_state() for scale in self.scales],
            "centres": self.centres.tolist(),
            "input_scale": scale.to_state(),
            "profiles": self.kernels.profiles.tolist(),
            "relevance": self.kernels.relevance.tolist(),
            "spreads": self.kernels.spreads.tolist(),
            "reference": {"x": reference.x.tolist(), "g": reference.g.tolist()},
            "examples": self.examples.tolist(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "KnownDevices":
        """Inverse of ``to_state``."""
        names, columns = tuple(state["names"]), tuple(state["columns"])
        s, d = len(names), len(columns)
        x = numbers(state["reference"], "x", (None, d))
        reference = Described(x, numbers(state["reference"], "g", (len(x), s)))
        kernels = DeviceKernels(
            InputScale.from_state(state["input_scale"]),
            numbers(state, "profiles", (d, s)),
            numbers(state, "relevance", (d, s)),
            numbers(state, "spreads", (s,), least=0),
            reference,
        )
        seen = ColumnRange.from_state(state["column_range"])
        models = tuple(SourceModel.from_state(model) for model in state["models"])
        scales = tuple(TargetScale.from_state(scale) for scale in state["scales"])
        if seen is None or not len(models) == len(scales) == s:
            raise ValueError(f"a range, and models and scales of {s} known devices were expected")
        widths = {len(kernels.input_scale.centre), len(seen.lowest)}
        if (widths | {len(model.additive.weights) for model in models}) != {d}:
            raise ValueError(f"known devices have other than {d} columns")
        centres = numbers(state, "centres", (s,))
        examples = numbers(state, "examples", (None, len(KERNELS) + 1))
        log = flag(state, "log")
        return cls(names, columns, seen, log, models, scales, centres, kernels, examples)


def device_scale(y: FloatArray, *, log: bool) -> TargetScale:
    """The scale of u: a logarithm keeps its size, as it has no unit."""
    scale = TargetScale.of(y, log=log)
    return TargetScale(True, scale.centre, 1.0) if log else scale


def _correlations(rows: FloatArray, u: FloatArray) -> FloatArray:  # (d,)
    """Of each column with u; 0 where either is constant."""
    x, v = rows - rows.mean(axis=0), u - u.mean()
    size = np.linalg.norm(x, axis=0) * np.linalg.norm(v)
    return np.asarray(x.T @ v / np.where(size > TINY, size, np.inf))


def _evenly(tables: list[FloatArray], rng: np.random.RandomState) -> FloatArray:
    """At most ``REFERENCE_ROWS`` rows, equally many of each table where it has them."""
    share = -(-REFERENCE_ROWS // len(tables))
    return np.concatenate([rows[np.sort(rng.permutation(len(rows))[:share])] for rows in tables])
