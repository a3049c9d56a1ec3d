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

__all__ = ["is_alive", "main"]


def is_alive(pid: int) -> bool:
    """Say whether a process of this number runs, and is no corpse that nobody has looked at."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return _answers(pid)
    return state != "Z"


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not Path("/proc/self/stat").exists()


def main(arguments: list[str]) -> int:
    """Keep the record until the engine has ended; return the exit code."""
    set_up_logging("warning")
    for number in (signal.SIGINT, signal.SIGTERM):  # the engine is told, and ends the record
        signal.signal(number, signal.SIG_IGN)
    ring_path, folder = Path(arguments[0]), Path(arguments[1])
    ring = RecordRing(ring_path)
    engine = int(ring.words[Word.ENGINE_PID])
    keep_record(ring, folder, engine_alive=lambda: is_alive(engine))
    ring_path.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
