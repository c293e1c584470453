"""Work in a thread beside other work: both run, and nothing that fails is lost."""

import threading

import pytest

from autodistill.distill.flash_step import meanwhile


def test_both_run_at_once():
    begun, answered = threading.Event(), threading.Event()

    def work() -> bool:
        begun.set()
        return answered.wait(timeout=60)

    with meanwhile(work) as result:
        assert begun.wait(timeout=60)
        answered.set()
    assert result.done() and result.result()


def test_an_error_of_the_work_comes_with_its_result():
    with meanwhile(lambda: 1 // 0) as result:
        pass
    with pytest.raises(ZeroDivisionError):
        result.result()


def test_an_error_beside_it_waits_for_its_end():
    ended: list[bool] = []
    failing = threading.Event()

    def work() -> None:
        failing.wait(timeout=60)
        ended.append(True)

    with pytest.raises(KeyError), meanwhile(work):
        failing.set()
        raise KeyError
    assert ended
