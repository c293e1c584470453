"""A predictor for a new device, from tables of known devices and a few measurements."""

import copy
from collections.abc import Callable, Collection, Mapping
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Tags, check_random_state

from predictors.candidates import FromScratch, learn_best
from predictors.column_range import ColumnRange
from predictors.device_tables import check_tables, refuse_other_names
from predictors.document import plain_params
from predictors.errors import InputError
from predictors.estimator import PredictorBase
from predictors.gp import GPPredictor
from predictors.inputs import check_new_rows, check_training_rows, default_names
from predictors.known_devices import KnownDevices
from predictors.new_device import NewDevice
from predictors.protocol import FloatArray
from predictors.state import check_one_scale, count, numbers
from predictors.suggest import choose
from predictors.threads import on_all_cores, one_blas_thread, slices

PART_ROWS = 1024  # that one core predicts at a time


class TransferPredictor(PredictorBase):
    """Latency on a new device from known devices and as little as one measurement.

    Each known device gets a model of its own (``source_model``), so devices need
    not have measured the same architectures. The new device is taken to be one of
    them, or where latencies themselves are modelled a blend of two
    (``device_bases``), plus a deviation, a Gaussian process; how large deviations
    are, and in what they consist, is learned by taking each known device for new
    (``device_prior``). Predictions average over what it may be, the sizes of the
    deviation and the case that no device tells anything, each as likely as the
    measurements make it (``device_mixture``). Where a GPPredictor of the measurements
    alone foretells each of them from the others much better, it is taken instead
    (``candidates``). So devices that have nothing in common with the new one do no harm.

    From 60 measurements on, the mixture competes on held-out rows with predictors
    fitted to the measurements alone, with and without what the known devices say
    as further columns; the best is kept. Without known devices it is a GPPredictor.

    On a noisy device, measurements far from what the others foretell count for less.

    The standard deviation is that of a new measurement, noise included.

    Each known device's model is asked about each row that is predicted, so that costs
    time with each of them (``benchmarks/predictor_speed.py``).

    Args:
        log_target: Model log(y), as latencies ask for: devices differ by factors,
            and so do errors. ``predict`` then returns the median. y must be positive.
            Where latency is a sum over the columns, False may be better: latencies of
            known devices are then blended too.
        random_state: Seed of subsets, draws and folds.

    Raises:
        InputError: A cell is NaN or infinite, ``log_target`` and y <= 0, or tables
            do not fit each other; the message names the device.

    Example:
        >>> import numpy as np
        >>> X = np.array([[1.0], [2.0], [4.0], [6.0], [8.0], [9.0]])
        >>> known = {"a": (X, 10 + 2 * X[:, 0]), "b": (X, 5 + X[:, 0])}
        >>> model = TransferPredictor().fit_sources(known)
        >>> model.suggest(X, 2).shape
        (2,)
        >>> model = model.fit([[2.0], [8.0]], [21.0, 39.0])
        >>> float(model.predict([[5.0]])[0].round())
        30.0
    """

    kind = "transfer"

    def __init__(
        self,
        *,
        log_target: bool = True,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.log_target = log_target
        self.random_state = random_state

    def fit_sources(
        self,
        sources: Mapping[str, tuple[ArrayLike, ArrayLike]],
        *,
        computed: Collection[str] = (),
    ) -> Self:
        """Learn from the tables of known devices; measurements fitted before are forgotten.

        Args:
            sources: For each device its rows X, (n, columns), and latencies y, (n,).
                All have the same columns; the rows may differ.
            computed: Those of them that nobody measured: machines thought up, such
                as one whose latency is the multiply-adds. The new device may be
                like them, but how measured devices differ is not learned from them.

        Raises:
            InputError: No device, two of one name, a table of fewer than two rows, a
                bad cell, columns that differ between devices, or ``computed`` names no source.
        """
        tables, columns = check_tables(sources, log_target=self.log_target)
        if unknown := sorted(set(computed) - set(tables)):
            raise InputError(
                f"computed names {unknown[0]!r}, which is not among the sources "
                f"{', '.join(map(repr, tables))}"
            )
        rng = check_random_state(self.random_state)
        self.known_ = KnownDevices.learn(
            tables, columns, log=self.log_target, rng=rng, computed=computed
        )
        if hasattr(self, "model_"):
            del self.model_
        return self

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn the new device from X, (rows, columns), and y, (rows,).

        One row is enough after ``fit_sources``; two without. Where that fails, what
        was fitted before stays.
        """
        learned = copy.copy(self)
        learned._learn(X, y)
        self.__dict__.clear()
        self.__dict__.update(learned.__dict__)
        return self

    def _learn(self, X: ArrayLike, y: ArrayLike) -> None:
        known = self._known()
        rows, targets = check_training_rows(self, X, y, least_rows=2 if known is None else 1)
        rng = check_random_state(self.random_state)
        if known is None:
            self.model_: NewDevice | FromScratch = self._alone(rows, targets, rng)
        else:
            self._refuse_other_columns(known, rows.shape[1])
            if hasattr(self, "feature_names_in_") and known.named:
                refuse_other_names(
                    "X has", self.column_names_, "the known devices have", known.columns
                )
            try:
                self.model_ = learn_best(known, rows, targets, rng)
            except np.linalg.LinAlgError as error:  # known devices that hardly vary
                if len(rows) < 2:
                    raise InputError(
                        "the known devices are nearly constant and tell nothing of the new one; "
                        "measure two architectures at least, or leave constant devices out"
                    ) from error
                self.model_ = self._alone(rows, targets, rng)
            if not isinstance(self.model_, FromScratch) or self.model_.known is not None:
                seen = [rows, known.column_range.lowest, known.column_range.highest]
                self.column_range_ = ColumnRange.of(np.vstack(seen))
        self.measured_ = rows
        self.training_error_ = self.model_.training_error

    def _alone(
        self, rows: FloatArray, targets: FloatArray, rng: np.random.RandomState
    ) -> FromScratch:
        """What the measurements tell without any known device."""
        predictor = GPPredictor(log_target=self.log_target, random_state=rng)
        return FromScratch(predictor.fit(rows, targets), None, rows)

    def suggest(self, X_pool: ArrayLike, k: int) -> np.ndarray:
        """Indices of the k rows of X_pool most worth measuring, the best first.

        Before ``fit`` they are the ones to begin with; after it, those to measure
        next, and what was measured comes last. They lower the expected error over the
        pool as a whole (``predictors.suggest``), so outliers are not asked for.

        Raises:
            InputError: k is no whole number between 1 and the rows of the pool, a bad cell, or
                other columns than those of the known devices.
        """
        checker = GPPredictor()
        pool, _ = check_training_rows(checker, X_pool, np.zeros(np.shape(X_pool)[:1]), least_rows=1)
        if not isinstance(k, Integral):
            raise InputError(f"k must be a whole number, how many rows to choose; got {k!r}")
        if not 1 <= k <= len(pool):
            raise InputError(f"k must lie between 1 and the {len(pool)} rows of X_pool; got {k}")
        known = self._known()
        model = getattr(self, "model_", None)
        if known is not None:
            self._refuse_other_columns(known, pool.shape[1])
        elif model is not None and pool.shape[1] != self.n_features_in_:
            raise InputError(
                f"X_pool has {pool.shape[1]} columns; the predictor was fitted on "
                f"{self.n_features_in_}"
            )
        if hasattr(X_pool, "columns"):
            self._refuse_other_pool(tuple(map(str, X_pool.columns)))
        rng = check_random_state(self.random_state)
        measured = np.empty((0, pool.shape[1])) if model is None else self.measured_
        device = model if isinstance(model, NewDevice) else None
        with one_blas_thread():
            return choose(known, device, measured, pool, int(k), rng)

    def _predict(
        self, rows: FloatArray, return_std: bool
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        said: FloatArray | tuple[FloatArray, FloatArray]
        said = _by_parts(lambda part: self.model_.predict(part, return_std), rows)
        return said

    def predict_interval(
        self, X: ArrayLike, coverage: float = 0.9
    ) -> tuple[FloatArray, FloatArray]:
        """Lower and upper bound, both (rows,), for a new measurement of each row."""
        rows = check_new_rows(self, X)
        bounds: tuple[FloatArray, FloatArray]
        bounds = _by_parts(lambda part: self.model_.predict_interval(part, coverage), rows)
        return bounds

    def to_state(self) -> dict[str, Any]:
        """Everything learned, as values that JSON can hold."""
        known = self._known()
        return {
            "params": plain_params(self),
            "n_columns": self.n_features_in_,
            "known": None if known is None else known.to_state(),
            "model": {"kind": self.model_.kind, **self.model_.to_state()},
            # the mixture keeps some of many rows
            "measured": (
                None if len(self.measured_) == len(self.model_.rows) else self.measured_.tolist()
            ),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Inverse of ``to_state``."""
        predictor = cls(**state["params"])
        known = None
        if state["known"] is not None:
            known = predictor.known_ = KnownDevices.from_state(state["known"])
        model = dict(state["model"])
        kinds: dict[str, Any] = {kind.kind: kind for kind in (NewDevice, FromScratch)}
        kind = kinds[model.pop("kind")]
        predictor.n_features_in_ = n_columns = count(state, "n_columns", least=1)
        if known is not None and len(known.columns) != n_columns:
            raise ValueError(f"known devices have {len(known.columns)} columns, not {n_columns}")
        predictor.model_ = kind.from_state(known, model)
        device = predictor.model_
        log = device.scale.log if isinstance(device, NewDevice) else device.predictor.log_target
        check_one_scale(predictor.log_target, log, log if known is None else known.log)
        if predictor.model_.rows.shape[1] != n_columns:
            raise ValueError(f"the measured rows have other than {n_columns} columns")
        predictor.measured_ = predictor.model_.rows
        if state.get("measured") is not None:  # files of version 2 have none
            predictor.measured_ = numbers(state, "measured", (None, n_columns))
        return predictor

    def __sklearn_clone__(self) -> Self:
        """An unfitted copy that knows the devices of ``fit_sources``, as it knows its arguments."""
        made = type(self)(**copy.deepcopy(self.get_params()))
        if hasattr(self, "known_"):
            made.known_ = self.known_
        return made

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = bool(self.log_target)
        return tags

    def _known(self) -> KnownDevices | None:
        known: KnownDevices | None = getattr(self, "known_", None)
        if known is not None and known.log != self.log_target:
            raise InputError(
                f"fit_sources was called with log_target={known.log}, and log_target is now "
                f"{self.log_target}. Call fit_sources again"
            )
        return known

    def _refuse_other_pool(self, names: tuple[str, ...]) -> None:
        known = self._known()
        if known is not None and known.named:
            refuse_other_names("X_pool has", names, "the known devices have", known.columns)
        elif hasattr(self, "model_") and self.column_names_ != default_names(len(names)):
            refuse_other_names("X_pool has", names, "the measurements have", self.column_names_)

    def _refuse_other_columns(self, known: KnownDevices, n_columns: int) -> None:
        if n_columns != len(known.columns):
            raise InputError(
                f"X has {n_columns} columns; the known devices have {len(known.columns)}. "
                "Give every device the same columns"
            )


def _by_parts(predict: Callable[[FloatArray], Any], rows: FloatArray) -> Any:
    """What ``predict`` says of the rows, an array or a pair; each core takes a part at a time."""
    if len(rows) <= PART_ROWS:
        return predict(rows)
    said = on_all_cores(predict, [rows[part] for part in slices(len(rows), PART_ROWS)])
    if isinstance(said[0], tuple):
        return tuple(np.concatenate(each) for each in zip(*said, strict=True))
    return np.concatenate(said)
