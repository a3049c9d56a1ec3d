"""Whether a process runs: its number alone may be another's by now."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["started_at"]


def started_at(pid: int) -> int:
    """Return when a process began, in clock ticks since boot; 0 if there is none, or a corpse.

    Without /proc it is 1 while a process of that number answers.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0 if Path("/proc/self/stat").exists() else int(_answers(pid))
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] == "Z" else int(fields[19])


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
