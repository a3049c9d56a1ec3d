"""The keeper as a process of its own: `python -m ifd_fast.keeper RING FOLDER`.

Started by the engine; it outlives it by as long as the record takes to be whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ifd_fast.keeper_plan import KeeperPlan
from ifd_fast.keeping import keep_record
from ifd_fast.logs import set_up_logging
from ifd_fast.processes import started_at
from ifd_fast.record_ring import RecordRing, Word
from ifd_fast.row_keeping import RowKeeper

__all__ = ["ROWS_MISSING", "is_engine_alive", "lock_ring", "main"]

ROWS_MISSING: Final = 75  # the exit code of a keeper that left a whole record, and rows unstored


def main(arguments: list[str]) -> int:
    """Keep the record until the engine has ended; return the exit code."""
    set_up_logging("warning")
    for number in (signal.SIGINT, signal.SIGTERM):  # the engine is told, and ends the record
        signal.signal(number, signal.SIG_IGN)
    ring_path, folder = Path(arguments[0]), Path(arguments[1])
    with lock_ring(ring_path) as is_mine:
        if not is_mine:  # another keeper has it, or had it until now
            return 0
        ring = RecordRing(ring_path)
        taker = RowKeeper(ring, folder, KeeperPlan.decode(ring.plan)) if ring.plan else None
        is_stored = keep_record(
            ring, folder, engine_alive=lambda: is_engine_alive(ring), taker=taker
        )
        ring_path.unlink(missing_ok=True)
    return 0 if is_stored else ROWS_MISSING


def is_engine_alive(ring: RecordRing) -> bool:
    """Say whether the process that made a ring runs: a number alone may be another's by now."""
    if not ring.words[Word.ENGINE_PID]:  # it is about to say who it is
        return True
    engine, began = (int(ring.words[word]) for word in (Word.ENGINE_PID, Word.ENGINE_START))
    return started_at(engine) == began


@contextmanager
def lock_ring(path: Path) -> Iterator[bool]:
    """Be the one keeper of a ring while this lasts; False: it has one, or is gone."""
    with contextlib.ExitStack() as held:
        try:
            file = held.enter_context(path.open("rb"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_mine = os.fstat(file.fileno()).st_nlink > 0
        except (FileNotFoundError, BlockingIOError):
            is_mine = False
        yield is_mine


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
