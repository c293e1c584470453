"""A new device, from a few measurements and what is known of others."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from predictors import device_mixture
from predictors.device_bases import said
from predictors.device_kernels import KERNELS, Described
from predictors.device_mixture import LEVEL, Hypotheses, Mixture
from predictors.device_prior import DevicePrior, propose
from predictors.known_devices import KnownDevices, device_scale
from predictors.protocol import FloatArray
from predictors.scaling import TargetScale
from predictors.state import number, numbers, shares
from predictors.threads import one_blas_thread, slices

CHUNK_ROWS = 1024  # rows predicted at once: bounds memory
LEAST_ROWS_FOR_SPREAD = 3  # below, the spread of y is taken from the sources
RESCALED = 2  # times that hypotheses are weighed anew, at most
NEARLY = 0.95  # of the spread of y, from which those that are trusted spread alike


@dataclass(frozen=True)
class NewDevice:
    """The mixture given the measurements, in the units of the user.

    Attributes:
        known: The sources.
        scale: How y becomes u.
        rows: (n, d) measured.
        u: (n,) their targets.
        seen: The rows as the kernels see them.
        blends: (b, s) what it may deviate from, of what still counts; see ``device_bases``.
        mixture: See ``device_mixture``.
    """

    known: KnownDevices
    scale: TargetScale
    rows: FloatArray
    u: FloatArray
    seen: Described
    blends: FloatArray
    mixture: Mixture
    kind = "mixture"

    @classmethod
    def learn(
        cls,
        known: KnownDevices,
        rows: FloatArray,  # (n, d)
        y: FloatArray,  # (n,)
        rng: np.random.RandomState,
    ) -> "NewDevice":
        """Draw hypotheses and weigh them; one row is enough.

        A few disturbed latencies may make up most of the spread of y, and then the unit
        of u is not that of the others. So where some are doubted the spread is taken
        anew, each counted as much as it is trusted, and hypotheses are weighed in that unit.
        """
        learned = cls._in_unit_of(_scale(known, y), np.ones(len(y)), known, rows, y, rng)
        for _ in range(RESCALED):
            scale = _trusted_scale(learned, y)
            if scale.scale > NEARLY * learned.scale.scale:
                break
            learned = cls._in_unit_of(scale, learned.mixture.factors, known, rows, y, rng)
        return learned._expecting_as_much_noise()

    @classmethod
    def _in_unit_of(
        cls,
        scale: TargetScale,
        factors: FloatArray,  # (n,) of the noise, to begin with
        known: KnownDevices,
        rows: FloatArray,  # (n, d)
        y: FloatArray,  # (n,)
        rng: np.random.RandomState,
    ) -> "NewDevice":
        u, unit = scale.apply(y), known.kernels.variance
        with one_blas_thread():
            seen = known.describe(rows)
            kernels = known.kernels(seen, seen)
            bases = known.bases
            differences = u[:, None] - said(seen, bases.blends)
            residuals = differences - differences.mean(axis=0)
            own = float(u.var()) if len(u) >= LEAST_ROWS_FOR_SPREAD else 0.0
            level = LEVEL * max(unit, own)
            given = (kernels, residuals, level, factors, rng)
            around = DevicePrior.around(known.examples)
            related = propose(around, False, bases.log_prior, unit, *given)
            own_unit = own if own > 0 else unit
            alone = propose(DevicePrior.alone(), True, bases.log_prior, own_unit, *given)
            found, kept = device_mixture.condition(
                related.and_also(alone), kernels, differences, level, factors
            )
        return cls(known, scale, rows, u, seen, bases.blends[kept], found)

    def _expecting_as_much_noise(self) -> "NewDevice":
        """The same, its noise that of the measurements on average: the next may be disturbed too.

        What is not doubted has a factor below one, then. The mixture is that of a file that
        is read, to the last bit.
        """
        mixture = self.mixture
        hypotheses, usual = mixture.hypotheses, mixture.factors.mean()
        with one_blas_thread():
            expecting = device_mixture.restore(
                replace(hypotheses, noise=hypotheses.noise * usual),
                mixture.weights,
                self.known.kernels(self.seen, self.seen),
                self.u[:, None] - said(self.seen, self.blends),
                mixture.level_variance,
                mixture.factors / usual,
            )
        return replace(self, mixture=expecting)

    @property
    def training_error(self) -> float:
        """RMSE of each measurement given the others; of one, the deviation expected."""
        if len(self.u) > 1:
            return float(np.sqrt(np.mean(self.leave_one_out_errors**2)))
        hypotheses = self.mixture.hypotheses
        variance = hypotheses.variances.sum(axis=1) + hypotheses.noise
        return float(self.scale.scale * np.sqrt(variance @ self.mixture.weights.sum(axis=1)))

    @property
    def leave_one_out_errors(self) -> FloatArray:
        """(n,) of log y or y: each measurement less what the others foretell; n at least 2."""
        return self.scale.scale * device_mixture.leave_one_out(self.mixture)

    def predict(
        self, rows: FloatArray, return_std: bool = False
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Median of y for each row, and its standard deviation if asked."""
        if return_std:
            mean, std = self._mean_and_std(rows)
            return self.scale.median(mean), self.scale.std(mean, std)
        mean = np.empty(len(rows))
        for part in slices(len(rows), CHUNK_ROWS):
            with one_blas_thread():
                new = self.known.describe(rows[part])
                cross = self.known.kernels(new, self.seen)
                bases = said(new, self.blends)
                mean[part] = device_mixture.predict_mean(self.mixture, cross, bases)
        return self.scale.median(mean)

    def predict_interval(self, rows: FloatArray, coverage: float) -> tuple[FloatArray, FloatArray]:
        """Central interval of a new measurement of each row."""
        return self.scale.interval(*self._mean_and_std(rows), coverage)

    def _mean_and_std(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        mean, std = np.empty(len(rows)), np.empty(len(rows))
        for part in slices(len(rows), CHUNK_ROWS):
            with one_blas_thread():
                new = self.known.describe(rows[part])
                mean[part], std[part] = device_mixture.predict(
                    self.mixture,
                    self.known.kernels(new, self.seen),
                    self.known.kernels.diagonal(new),
                    said(new, self.blends),
                )
        return mean, std

    def to_state(self) -> dict[str, Any]:
        """Measurements and hypotheses; the known devices are kept elsewhere."""
        hypotheses = self.mixture.hypotheses
        return {
            "scale": self.scale.to_state(),
            "rows": self.rows.tolist(),
            "u": self.u.tolist(),
            "level_variance": self.mixture.level_variance,
            "variances": hypotheses.variances.tolist(),
            "noise": hypotheses.noise.tolist(),
            "bases": self.blends.tolist(),
            "weights": self.mixture.weights.tolist(),
            "factors": self.mixture.factors.tolist(),
        }

    @classmethod
    def from_state(cls, known: KnownDevices | None, state: dict[str, Any]) -> "NewDevice":
        """Inverse of ``to_state``; covariances are inverted again, by the same code."""
        if known is None:
            raise ValueError("a mixture needs known devices; there are none")
        rows = numbers(state, "rows", (None, len(known.columns)))
        u = numbers(state, "u", (len(rows),))
        variances = numbers(state, "variances", (None, len(KERNELS)), least=0)
        noise = numbers(state, "noise", (len(variances),), above=0)
        n_sources = len(known.names)
        blends = np.eye(n_sources + 1, n_sources)  # files of version 3 have no blends
        if "bases" in state:
            blends = numbers(state, "bases", (None, n_sources))
        weights = shares(state, "weights", (len(variances), len(blends)))
        factors = np.ones(len(rows))  # files of version 2 trust all measurements alike
        if "factors" in state:
            factors = numbers(state, "factors", (len(rows),), above=0)
        with one_blas_thread():
            seen = known.describe(rows)
            mixture = device_mixture.restore(
                Hypotheses(variances, noise, np.zeros_like(weights)),
                weights,
                known.kernels(seen, seen),
                u[:, None] - said(seen, blends),
                number(state, "level_variance", above=0),
                factors,
            )
        return cls(known, TargetScale.from_state(state["scale"]), rows, u, seen, blends, mixture)


def _scale(known: KnownDevices, y: FloatArray) -> TargetScale:
    """How y becomes u: by its own spread, or of one or two rows by the sources' relative one."""
    scale = device_scale(y, log=known.log)
    if known.log or len(y) >= LEAST_ROWS_FOR_SPREAD:
        return scale
    relative = [s.scale / abs(s.centre) for s in known.scales if s.centre != 0]
    if not relative or scale.centre == 0:
        return scale
    return TargetScale(False, scale.centre, float(np.median(relative)) * abs(scale.centre))


def _trusted_scale(device: NewDevice, y: FloatArray) -> TargetScale:
    """The scale that its measurements have, each counted as much as it is trusted."""
    factors = device.mixture.factors
    if device.scale.log or (factors == 1).all():
        return device.scale
    centre = float(np.average(y, weights=1 / factors))
    spread = float(np.sqrt(np.average((y - centre) ** 2, weights=1 / factors)))
    return TargetScale(False, centre, spread) if spread > 0 else device.scale
