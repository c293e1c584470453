"""Choosing what to measure: against brute force, and against random draws."""

import numpy as np
import pandas
import pytest
from sklearn.base import clone

from predictors import InputError, TransferPredictor, candidates, load, suggest
from predictors.suggest import most_telling


def choices(n, seed):
    """One-hot rows of networks with one of four operations at six positions."""
    drawn = np.random.default_rng(seed).integers(4, size=(n, 6))
    return (drawn[:, :, None] == np.arange(4)).reshape(n, -1).astype(float)


def device(X, seed):
    """Latency of a device that pays for each operation, and for each position, its own factor."""
    rng = np.random.default_rng(seed)
    operations = np.array([1.0, 2.0, 4.0, 8.0]) * np.exp(0.5 * rng.normal(size=4))
    y = 5 + X @ np.outer(np.exp(0.3 * rng.normal(size=6)), operations).ravel()
    return y * np.exp(0.01 * rng.normal(size=len(X)))


def copy(predictor):
    fresh = clone(predictor)
    fresh.known_ = predictor.known_
    return fresh


def positive_definite(n, seed):
    root = np.random.default_rng(seed).normal(size=(n, n))
    return root @ root.T + 0.1 * np.eye(n)


def remaining(k, measured, noise, reference):
    """Summed variance of the reference rows once some are measured: the textbook formula."""
    inside = k[np.ix_(measured, measured)] + noise * np.eye(len(measured))
    cross = k[np.ix_(reference, measured)]
    left = k[np.ix_(reference, reference)] - cross @ np.linalg.solve(inside, cross.T)
    return np.trace(left)


@pytest.mark.parametrize("n_measured", [0, 2])
@pytest.mark.parametrize("chunk_rows", [5, 12])
def test_each_choice_is_the_best_one(n_measured, chunk_rows, monkeypatch):
    monkeypatch.setattr(suggest, "CHUNK_ROWS", chunk_rows)
    n, noise = 12, 0.3
    k = positive_definite(n, 0)
    reference = np.array([0, 2, 5, 7])
    n_choices = n - n_measured
    chosen = most_telling(
        lambda a, b: k[np.ix_(a, b)],
        np.diag(k),
        noise,
        n_choices=n_choices,
        n_measured=n_measured,
        reference=reference,
        repeats=np.zeros(n_choices, bool),
        k=5,
    )
    known = list(range(n_choices, n))
    for row in chosen:
        free = [i for i in range(n_choices) if i not in known]
        best = min(free, key=lambda i: remaining(k, [*known, i], noise, reference))
        assert row == best
        known.append(row)


@pytest.fixture(scope="module")
def known():
    tables = [choices(120, seed) for seed in range(4)]
    return TransferPredictor().fit_sources(
        {f"d{seed}": (X, device(X, seed)) for seed, X in enumerate(tables)}
    )


def test_chosen_rows_teach_more_than_random_ones(known):
    """Mean error over six new devices, eight measurements each."""
    ours, random = [], []
    for seed in range(6):
        X = choices(300, 300 + seed)
        y = device(X, 300 + seed)
        for errors, rows in ((ours, known.suggest(X[:100], 8)), (random, np.arange(8))):
            model = copy(known).fit(X[rows], y[rows])
            errors.append(np.mean(np.abs(model.predict(X[100:]) / y[100:] - 1)))
    assert np.mean(ours) < np.mean(random)


def test_a_pool_in_chunks_has_the_same_choices(known, monkeypatch):
    X = choices(100, 1)
    model = copy(known).fit(X[:4], device(X, 77)[:4])
    at_once = model.suggest(X, 6)
    monkeypatch.setattr(suggest, "CHUNK_ROWS", 9)
    assert model.suggest(X, 6).tolist() == at_once.tolist()


def test_next_rows_are_new_ones(known):
    X = choices(100, 1)
    y = device(X, 77)
    first = known.suggest(X, 6)
    model = copy(known).fit(X[first], y[first])
    following = model.suggest(X, 6)
    assert len(set(first)) == len(set(following)) == 6
    same = (X[following][:, None] == X[first]).all(axis=2)
    assert not same.any()


def test_all_rows_may_be_asked_for_and_repeats_come_last(known):
    X = np.vstack([choices(10, 1), choices(10, 1)])
    assert sorted(known.suggest(X, 20)) == list(range(20))
    assert len({index % 10 for index in known.suggest(X, 10)}) == 10


def test_without_known_devices_rows_fill_the_space():
    """Of five clusters of rows, five rows are one of each."""
    rng = np.random.default_rng(0)
    centres = 10 * np.eye(5)
    X = np.repeat(centres, 20, axis=0) + 0.1 * rng.normal(size=(100, 5))
    chosen = TransferPredictor().suggest(X, 5)
    assert sorted(chosen // 20) == [0, 1, 2, 3, 4]
    y = np.exp(X[:, 0] / 10)
    fitted = TransferPredictor().fit(X[:60], y[:60])
    assert sorted(fitted.suggest(X, 2) // 20) == [3, 4]


def test_after_many_measurements(known):
    X = choices(80, 4)
    model = copy(known).fit(X[:65], device(X[:65], 9))
    assert len(set(model.suggest(X, 3))) == 3


def test_what_was_measured_comes_last_however_much_it_was(known, tmp_path, monkeypatch):
    """More rows than the mixture keeps; also after a file."""
    monkeypatch.setattr(candidates, "MIXTURE_ROWS", 10)
    monkeypatch.setattr(candidates, "MUCH_BETTER", 0)  # never a process on the rows alone
    X = np.unique(choices(40, 5), axis=0)
    n = len(X) - 10
    model = copy(known).fit(X[:n], device(X[:n], 9))
    assert len(model.model_.rows) == 10 < n
    assert sorted(model.suggest(X, 10)) == list(range(n, n + 10))
    model.save(tmp_path / "p.json")
    assert load(tmp_path / "p.json").suggest(X, 12).tolist() == model.suggest(X, 12).tolist()
    few = copy(known).fit(X[:3], device(X[:3], 9))
    assert sorted(few.suggest(X[:3], 3)) == [0, 1, 2]


def test_names_of_a_loaded_predictor_hold_for_a_pool(known, tmp_path):
    class Frame:
        """What is asked of a data frame here."""

        def __init__(self, columns):
            self.columns = columns

        def __array__(self, dtype=None, copy=None):
            return choices(10, 0).astype(dtype)

    X, names = choices(10, 0), [f"c{index}" for index in range(24)]
    copy(known).fit(X[:3], device(X[:3], 9)).save(tmp_path / "p.json", columns=names)
    back = load(tmp_path / "p.json")
    assert back.suggest(Frame(names), 2).tolist() == back.suggest(X, 2).tolist()
    with pytest.raises(InputError, match="X_pool has a column 'other' where the meas.*'c0'"):
        back.suggest(Frame(["other", *names[1:]]), 2)


def test_a_pool_of_other_columns_is_refused():
    X = choices(20, 0)
    frame = pandas.DataFrame(X, columns=[f"c{index}" for index in range(X.shape[1])])
    other = frame.rename(columns={"c1": "other"})
    predictor = TransferPredictor().fit_sources({"a": (frame, device(X, 0))})
    with pytest.raises(InputError, match="X_pool has a column 'other' where the known .*'c1'"):
        predictor.suggest(other, 2)
    assert len(predictor.suggest(frame, 2)) == len(predictor.suggest(X, 2)) == 2
    alone = TransferPredictor().fit(frame, device(X, 0))
    with pytest.raises(InputError, match="X_pool has a column 'other' where the measurements"):
        alone.suggest(other, 2)


def test_what_cannot_be_asked(known):
    X = choices(10, 0)
    for k in (0, 11):
        with pytest.raises(InputError, match=f"between 1 and the 10 rows of X_pool; got {k}"):
            known.suggest(X, k)
    for k in (2.5, 2.0, "3", None):
        with pytest.raises(InputError, match=f"k must be a whole number, .*; got {k!r}"):
            known.suggest(X, k)
    assert len(known.suggest(X, np.int64(2))) == 2
    with pytest.raises(InputError, match="X has 3 columns; the known devices have 24"):
        known.suggest(X[:, :3], 1)
    bad = X.copy()
    bad[2, 1] = np.nan
    with pytest.raises(InputError, match="row 2, column 1 is NaN"):
        known.suggest(bad, 1)
    fitted = TransferPredictor().fit(X, device(X, 0))
    with pytest.raises(InputError, match="X_pool has 3 columns; the predictor was fitted on 24"):
        fitted.suggest(X[:, :3], 1)
