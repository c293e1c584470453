"""BLAS threads inside and outside the context."""

import threading

from threadpoolctl import threadpool_info

from predictors.threads import one_blas_thread


def threads():
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def test_one_thread_inside_and_as_before_outside():
    before = threads()
    with one_blas_thread():
        assert threads() and set(threads()) == {1}
    assert threads() == before


def test_threads_that_overlap_leave_all_as_it_was():
    """The one that came first leaves first; the other still has one thread of BLAS."""
    before, first_is_in, first_may_go = threads(), threading.Event(), threading.Event()

    def first():
        with one_blas_thread():
            first_is_in.set()
            first_may_go.wait(10)

    other = threading.Thread(target=first)
    other.start()
    first_is_in.wait(10)
    with one_blas_thread():
        first_may_go.set()
        other.join(10)
        assert set(threads()) == {1}
    assert threads() == before
