"""BLAS threads inside and outside the context."""

from threadpoolctl import threadpool_info

from predictors.threads import one_blas_thread


def threads():
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def test_one_thread_inside_and_as_before_outside():
    before = threads()
    with one_blas_thread():
        assert threads() and set(threads()) == {1}
    assert threads() == before
