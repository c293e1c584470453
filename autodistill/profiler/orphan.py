"""Processes that do not outlive the one that started them."""

import multiprocessing
import os
import threading
import time


def end_with_parent() -> None:
    """End this child process when its parent has ended, however it did.

    A parent that was killed cannot end its children; a child that hangs in a compiler
    cannot end itself.
    """
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        time.sleep(0.1)  # an orderly end comes first
        os._exit(1)
