"""Looking for the architecture of the highest score, and for a varied crowd to start from.

The score (expected improvement) is flat in most places and has many small peaks,
so it is climbed from many starts at once: each round keeps the best and adds
crosses of two and small changes of one.

Axes: n = architectures, f = fields; rows hold positions among the choices.
"""

from collections.abc import Callable, Sequence

import numpy as np

from autodistill.search.described import LayerGroup
from autodistill.space import Architecture, SearchSpace
from autodistill.space.choices import is_ordered

RowScore = Callable[[list[Architecture]], np.ndarray]
SURVIVORS = 40


def ascend(
    space: SearchSpace,
    score: RowScore,
    start: dict[Architecture, float],
    *,
    groups: Sequence[LayerGroup],
    exclude: set[Architecture],
    rounds: int,
    offspring: int,
    rng: np.random.Generator,
) -> dict[Architecture, float]:
    """Scores of all that was tried, the start included.

    Args:
        space: Where to look.
        score: Higher is better, (n,).
        start: Architectures with their scores.
        groups: Fields that are worth changing together.
        exclude: Never tried.
        rounds: How many times the best have offspring.
        offspring: How many in each round.
        rng: Of the changes.
    """
    found = dict(start)
    for _ in range(rounds):
        best = sorted(found, key=found.__getitem__, reverse=True)[:SURVIVORS]
        if not best:
            return found
        rows = vary(space, space.to_indices(best), offspring, groups=groups, rng=rng)
        new = [a for a in space.from_rows(rows) if a not in found and a not in exclude]
        new = list(dict.fromkeys(new))
        if new:
            found.update(zip(new, score(new).tolist(), strict=True))
    return found


def vary(
    space: SearchSpace,
    rows: np.ndarray,  # (n, f), the best first
    count: int,
    *,
    groups: Sequence[LayerGroup],
    rng: np.random.Generator,
) -> np.ndarray:  # (at most count, f)
    """Valid offspring: crosses, changes of one to three fields, and of layers together."""
    lengths = np.array([len(values) for values in space.choices.values()])
    # the best have the most: the smaller of two uniform ranks
    first = rng.integers(len(rows), size=(2, count)).min(axis=0)
    second = rng.integers(len(rows), size=count)
    cross = (rng.random((count, 1)) < 0.4) & (rng.random((count, len(lengths))) < 0.5)
    made = np.where(cross, rows[second], rows[first])
    for i in range(count):
        if groups and rng.random() < 0.4:
            _change_layers(made[i], groups[int(rng.integers(len(groups)))], lengths, rng)
            continue
        for j in rng.integers(len(lengths), size=rng.integers(1, 4)):
            if rng.random() < 0.5:  # to a neighbouring choice
                made[i, j] = np.clip(made[i, j] + rng.choice((-1, 1)), 0, lengths[j] - 1)
            else:
                made[i, j] = rng.integers(lengths[j])
    made = space.conditions.settle(made)
    return made[space.are_valid(made)]


def spread(
    space: SearchSpace,
    count: int,
    *,
    groups: Sequence[LayerGroup],
    rng: np.random.Generator,
) -> list[Architecture]:
    """Members between the corners of a space: small and large ones, all alike inside.

    In random members with many layers everything averages out; here all fields are
    at about one level, or the layers of each group are, or rise from first to last.
    """
    lengths = np.array([len(values) for values in space.choices.values()])
    level = rng.choice(np.linspace(0, 1, 5), size=(count, 1))
    own = rng.random((count, len(lengths)))
    is_even = rng.random((count, 1)) < 0.5
    ordered = np.array([is_ordered(values) for values in space.choices.values()])
    levels = np.where(is_even & ordered, np.clip(level + rng.normal(0, 0.1, own.shape), 0, 1), own)
    for group in groups:
        ends = rng.choice([0.0, 0.25, 0.5, 0.75, 1.0], size=(count, 2))
        ends = np.where(rng.random((count, 1)) < 0.7, ends[:, :1], ends)  # mostly level
        ends = np.where(is_even, level, ends)
        steps = np.linspace(0, 1, len(group.columns))
        levels[:, list(group.columns)] = ends[:, :1] * (1 - steps) + ends[:, 1:] * steps
    rows = np.rint(levels * (lengths - 1)).astype(np.int64)
    rows[:2] = [np.zeros_like(lengths), lengths - 1][: len(rows)]  # both corners, if valid
    rows = space.conditions.settle(rows)
    return list(dict.fromkeys(space.from_rows(rows[space.are_valid(rows)])))


def _change_layers(
    row: np.ndarray,  # (f,), changed in place
    group: LayerGroup,
    lengths: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """One stretch of layers takes one value, or moves by one step."""
    columns = np.array(group.columns)
    first, last = np.sort(rng.integers(len(columns), size=2))
    if rng.random() < 0.4:
        first, last = 0, len(columns) - 1
    stretch = columns[first : last + 1]
    if rng.random() < 0.5:
        row[stretch] = rng.integers(lengths[stretch[0]])
    else:
        row[stretch] = np.clip(row[stretch] + rng.choice((-1, 1)), 0, lengths[stretch] - 1)
