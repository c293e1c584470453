"""This machine's processor, as the operating system tells it."""

import os
import platform
from pathlib import Path


def cpu_kind() -> str:
    """Model and usable cores, as in the table's ``device_kind``."""
    return f"{cpu_model()}, {usable_cores()} cores"


def cpu_model() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
