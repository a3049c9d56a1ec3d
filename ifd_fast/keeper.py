"""The keeper as a process of its own: `python -m ifd_fast.keeper RING FOLDER`.

Started by the engine; it outlives it by as long as the record takes to be whole.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from ifd_fast.keeping import keep_record
from ifd_fast.logs import set_up_logging
from ifd_fast.record_ring import RecordRing, Word

__all__ = ["main", "started_at"]


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


def main(arguments: list[str]) -> int:
    """Keep the record until the engine has ended; return the exit code."""
    set_up_logging("warning")
    for number in (signal.SIGINT, signal.SIGTERM):  # the engine is told, and ends the record
        signal.signal(number, signal.SIG_IGN)
    ring_path, folder = Path(arguments[0]), Path(arguments[1])
    ring = RecordRing(ring_path)
    engine, began = (int(ring.words[word]) for word in (Word.ENGINE_PID, Word.ENGINE_START))
    keep_record(ring, folder, engine_alive=lambda: started_at(engine) == began)
    ring_path.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
