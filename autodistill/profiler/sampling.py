"""Architectures to measure: few, different, and covering a space.

Uniform draws leave gaps: of 11 widths, 30 draws miss one in about half of all
seeds. Here the corners of the space come first, and each further architecture is the
one, of several hundred uniform draws, whose choices are the rarest so far, in the
manner of a Latin hypercube [McKay1979], but sequential: the first n of a longer
sample are the sample of n, so that a table can be extended.

Axes: m = candidates, f = fields.

References:
    [McKay1979] McKay, Beckman, Conover. A comparison of three methods for selecting
    values of input variables in the analysis of output from a computer code.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice

import numpy as np

from autodistill.errors import SpaceError
from autodistill.space import Architecture, SearchSpace, Value

ENUMERATED = 16_384  # a space of so many members or fewer is listed
POOL = 384  # candidates drawn at a time from a larger one
PICKS = 24  # chosen from a pool before the next is drawn
SHORTLIST = 12  # candidates with the rarest choices, among which pairs decide
DEPTH_FIELDS = ("num_hidden_layers", "num_feedforward_networks")


def stratified_sample(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Different members of a space, each choice about equally often as the rules allow.

    The first are the ``corners``. A function of the arguments alone; with the same
    seed, a smaller count gives the beginning of a larger one.

    Raises:
        SpaceError: ``count`` is negative or exceeds the size of the space.

    Example:
        >>> space = SearchSpace({"a": [1, 2, 3], "b": [False, True]})
        >>> short, long = (stratified_sample(space, n, seed=0) for n in (3, 6))
        >>> long[:3] == short, len(set(long))
        (True, 6)
    """
    if count < 0:
        raise SpaceError(f"a sample needs a count of 0 or more; got {count}")
    if count > space.size:
        raise SpaceError(
            f"the space has {space.size:,} architectures; asked for {count:,} samples: ask for "
            "fewer, or give the space more choices"
        )
    return list(islice(_sequence(space, np.random.default_rng(seed)), count))


def corners(space: SearchSpace) -> list[Architecture]:
    """Extreme members: smallest, largest, deepest and thinnest, shallowest and widest.

    Numbers lie at the ends of their choices, or as near to them as the rules allow;
    categories take their first choice. Fewer than four where some are the same.
    """
    ends = {field: (values[0], values[-1]) for field, values in space.choices.items()}
    fields = [field for field, (low, _) in ends.items() if not isinstance(low, str | bool)]
    found: dict[Architecture, None] = {}
    for depth, rest in ((0, 0), (1, 1), (1, 0), (0, 1)):  # which end of each field
        wanted = {f: depth if f in DEPTH_FIELDS else rest for f in fields}
        found[space.nearest(partial(_steps_from, space, wanted))] = None
    return list(found)


def _steps_from(space: SearchSpace, wanted: Mapping[str, int], field: str, value: Value) -> float:
    """Steps between a value and the wanted end of its field, in parts of the whole way."""
    choices = space.choices[field]
    place = choices.index(value) / max(len(choices) - 1, 1)
    return abs(place - wanted.get(field, 0))


def _sequence(space: SearchSpace, rng: np.random.Generator) -> Iterator[Architecture]:
    """All that a sample may be the beginning of; ends when the space is exhausted."""
    counts = _Counts(space)
    taken: list[Architecture] = []
    for corner in corners(space):
        counts.add(space.to_indices([corner])[0])
        taken.append(corner)
        yield corner
    while len(taken) < space.size:
        pool = _pool(space, rng, taken, counts)
        places = space.to_indices(pool)  # (m, f)
        remaining = np.arange(len(pool))
        picks = len(pool) if space.size <= ENUMERATED else PICKS
        for _ in range(min(picks, len(pool))):
            best = counts.rarest(places[remaining], rng)
            chosen = remaining[best]
            remaining = np.delete(remaining, best)
            counts.add(places[chosen])
            taken.append(pool[chosen])
            yield pool[chosen]


def _pool(
    space: SearchSpace,
    rng: np.random.Generator,
    taken: list[Architecture],
    counts: "_Counts",
) -> list[Architecture]:
    """Untaken candidates in random order: the whole rest of a small space."""
    if space.size <= ENUMERATED:
        return space.sample_distinct(space.size, rng, exclude=taken)
    pool = space.sample_distinct(POOL, rng, exclude=taken)
    places = space.to_indices(pool)
    known = set(pool) | set(taken)
    for j, (field, values) in enumerate(space.choices.items()):
        for i in set(np.flatnonzero(counts.singles[j] == 0)) - set(places[:, j]):
            # so few members have this choice that none was drawn
            noise = {(f, v): float(rng.random()) for f, c in space.choices.items() for v in c}
            wanted = partial(_prefers, field, values[i], noise)
            member = space.nearest(wanted)
            if member[field] == values[i] and member not in known:
                known.add(member)
                pool.append(member)
    return pool


def _prefers(
    field: str, value: Value, noise: Mapping[tuple[str, Value], float], f: str, v: Value
) -> float:
    """A distance that one value of one field minimises, and chance the others."""
    return (0.0 if v == value else 1e6) if f == field else noise[f, v]


class _Counts:
    """How often each choice, and each pair of choices, was taken."""

    def __init__(self, space: SearchSpace) -> None:
        sizes = [len(values) for values in space.choices.values()]
        self.singles = [np.zeros(size) for size in sizes]
        self.pairs = {
            (j, k): np.zeros((sizes[j], sizes[k]))
            for j in range(len(sizes))
            for k in range(j + 1, len(sizes))
        }

    def add(self, places: np.ndarray) -> None:  # (f,)
        """Take one architecture."""
        for j, single in enumerate(self.singles):
            single[places[j]] += 1
        for (j, k), pair in self.pairs.items():
            pair[places[j], places[k]] += 1

    def rarest(self, places: np.ndarray, rng: np.random.Generator) -> int:  # (m, f)
        """The candidate with the rarest pairs, of those with the rarest choices.

        Counts are in parts of what an even design would have, so that a field of two
        choices weighs as much as one of twenty; ties fall to chance.
        """
        seldom = np.zeros(len(places))
        for j, single in enumerate(self.singles):
            seldom += single[places[:, j]] * len(single)
        order = rng.permutation(len(places))
        shortlist = order[np.argsort(seldom[order], kind="stable")[:SHORTLIST]]
        near = places[shortlist]
        together = np.zeros(len(near))
        for (j, k), pair in self.pairs.items():
            together += pair[near[:, j], near[:, k]] * pair.size
        return int(shortlist[np.argmin(together)])
