"""How long a search may go on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodistill.errors import ArgumentError
from autodistill.search.budget import Budget


@given(st.integers(1, 10**9))
def test_budget_whole_numbers_are_students(students: int) -> None:
    assert Budget.parse(f" {students} ") == Budget(students=students)


@given(
    st.floats(1e-3, 1e6).map(lambda x: round(x, 3)),
    st.sampled_from([("s", 1), ("m", 60), ("h", 3600)]),
)
def test_budget_numbers_with_a_unit_are_times(number: float, unit: tuple[str, int]) -> None:
    letter, seconds = unit
    assert Budget.parse(f"{number:f}{letter}").seconds == pytest.approx(number * seconds)


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "0s", "-2h", "+0m", "8x", "h", "1e3", "nan", "inf", "1.5", "1,5h", "8 8"],
)
def test_budget_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(ArgumentError, match="--budget") as caught:
        Budget.parse(text)
    assert repr(text) in str(caught.value)


def test_budget_of_students_looks_at_no_clock() -> None:
    budget = Budget(students=3)
    assert not budget.is_spent(2, 1e9, 1e9)
    assert budget.is_spent(3, 0, 0) and budget.is_spent(4, 0, 0)


def test_budget_of_time_leaves_room_for_one_more() -> None:
    budget = Budget(seconds=60)
    assert not budget.is_spent(100, 40, 20)
    assert budget.is_spent(0, 40, 20.1) and budget.is_spent(0, 61, 0)
