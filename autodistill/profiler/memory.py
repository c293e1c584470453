"""How much memory this process and those that it started hold.

Resident pages, added up: what several processes share is counted once for
each. Where the system does not tell of a process (no ``/proc``), only the peaks
that it keeps itself are known; on Windows nothing is.
"""

import os
import sys
from pathlib import Path

PROC = Path("/proc")


def resident_bytes() -> int:
    """Resident memory of this process and its descendants, now; 0 if unknown."""
    if not (PROC / "self" / "statm").exists():
        return _own_peaks()
    return sum(process_bytes(pid) for pid in _family(os.getpid()))


def _family(root: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(errors="replace")
            except OSError:  # it has ended meanwhile
                continue
            # The name, in brackets, may hold anything; state and parent follow it.
            parent = int(stat[stat.rindex(")") + 1 :].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def process_bytes(pid: int) -> int:
    """Resident memory of one process; 0 if it has ended, or the system does not tell."""
    try:
        pages = (PROC / str(pid) / "statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _own_peaks() -> int:
    """Peak of this process and of the largest child that has ended."""
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(each).ru_maxrss * unit for each in who)
