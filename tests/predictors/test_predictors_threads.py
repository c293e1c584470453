"""BLAS threads inside and outside the context."""

import threading

import pytest
from threadpoolctl import threadpool_info

from predictors.threads import one_blas_thread


def threads():
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def test_one_thread_inside_and_as_before_outside():
    before = threads()
    with one_blas_thread():
        assert threads() and set(threads()) == {1}
    assert threads() == before


@pytest.mark.parametrize("used_before", [False, True])
def test_threads_that_overlap_leave_all_as_it_was(used_before):
    """The one that came first leaves first; the other still has one thread of BLAS."""
    if used_before:
        with one_blas_thread():
            pass
    before = threads()
    first_is_in, first_may_go, first_is_out, done = (threading.Event() for _ in range(4))

    def first():
        with one_blas_thread():
            first_is_in.set()
            first_may_go.wait(10)
        first_is_out.set()
        done.wait(10)  # alive while the other lifts the limit

    other = threading.Thread(target=first)
    other.start()
    first_is_in.wait(10)
    with one_blas_thread():
        first_may_go.set()
        first_is_out.wait(10)
        assert set(threads()) == {1}
    assert threads() == before
    done.set()
    other.join(10)
