"""Small spaces, and hypothesis made repeatable."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from autodistill.space import Architecture, Rule, SearchSpace

# The same examples in every run, and no folder of remembered ones.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

CHOICES = st.one_of(
    st.lists(st.integers(-50, 50), min_size=1, max_size=4, unique=True),
    st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(["relu", "gelu", "silu", "tanh"]), min_size=1, unique=True),
    st.just([False, True]),
)


@st.composite
def _parts(draw: st.DrawFn) -> tuple[dict[str, list], tuple[Rule, ...]]:
    names = draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=4, unique=True))
    choices = {name: draw(CHOICES) for name in names}
    rules = []
    for _ in range(draw(st.integers(0, 2))):
        fields = tuple(draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)))
        pairs = list(itertools.product(*(choices[f] for f in fields)))
        forbidden = set(draw(st.lists(st.sampled_from(pairs), max_size=len(pairs) - 1)))
        rules.append(Rule(fields, lambda *v, no=frozenset(forbidden): v not in no, "drawn"))
    return choices, tuple(rules)


def _members(choices: dict[str, list], rules: tuple[Rule, ...]) -> list[Architecture]:
    """All valid architectures, by trying every combination."""
    found = []
    for values in itertools.product(*choices.values()):
        architecture = dict(zip(choices, values, strict=True))
        if all(rule.allows(*(architecture[f] for f in rule.fields)) for rule in rules):
            found.append(Architecture(architecture))
    return found


@pytest.fixture(scope="session")
def drawn_parts() -> st.SearchStrategy:
    """A strategy for choices and rules; the rules may leave nothing."""
    return _parts()


@pytest.fixture(scope="session")
def brute_force() -> Callable[..., list[Architecture]]:
    return _members


@pytest.fixture
def tied_space() -> SearchSpace:
    """Twenty members, very unevenly spread over the choices of one field."""
    return SearchSpace(
        {"width": [1, 2, 3, 4], "depth": [1, 2, 3, 4], "act": ["relu", "gelu"]},
        rules=[Rule(("depth", "width"), lambda depth, width: depth <= width, "depth <= width")],
    )
