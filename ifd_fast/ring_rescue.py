"""Starting a keeper, and taking up the ring that a dead engine left: all of it reaches the disk."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NoReturn

from ifd_fast.config import child_environment
from ifd_fast.errors import AlreadyRunningError, DataError, IfdError
from ifd_fast.keeper import is_engine_alive, lock_ring
from ifd_fast.record_ring import RecordRing, Word

__all__ = ["CLOSE_S", "refuse_second", "start_keeper", "take_up_ring"]

CLOSE_S: Final = 30.0  # that a keeper may take to bring the rest to the disk
LOOK_S: Final = 0.005


def start_keeper(ring: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start a keeper of `ring`; it ends at once if the ring has one."""
    command = [sys.executable, "-m", "ifd_fast.keeper", str(ring), str(folder)]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, env=child_environment()
    )


def take_up_ring(ring: Path, folder: Path) -> None:
    """Wait until what a dead engine left in `ring` is in `folder`; no ring: nothing is to be done.

    Its keeper does that. If it was killed too, another is started.

    Raises
    ------
    AlreadyRunningError
        The ring's engine runs.
    IfdError
        The disk doesn't take it in time; the ring stays.
    """
    if not ring.exists():
        return
    if _has_engine(ring):
        refuse_second(ring, folder)
    rescuer, until_s = None, time.monotonic() + CLOSE_S
    while ring.exists():
        if time.monotonic() > until_s:
            raise IfdError(
                f"An engine that died has left {ring}, and it has not reached {folder} within "
                f"{CLOSE_S:g} s. See what the keeper says of the disk, then start again."
            )
        if (rescuer is None or rescuer.poll() is not None) and _is_free(ring):
            rescuer = start_keeper(ring, folder)
        time.sleep(LOOK_S)
    if rescuer is not None:
        rescuer.wait(CLOSE_S)


def refuse_second(ring: Path, folder: Path) -> NoReturn:
    """Raise AlreadyRunningError, naming the engine that records to `folder`."""
    pid = 0
    with contextlib.suppress(FileNotFoundError, DataError), RecordRing(ring) as held:
        pid = int(held.words[Word.ENGINE_PID])
    engine = f"process {pid}" if pid else "another process"  # just gone, or just beginning
    raise AlreadyRunningError(
        f"{folder} is being recorded to by {engine}: its ring {ring} is there. End that session,"
        " or name another --record."
    )


def _has_engine(path: Path) -> bool:
    try:
        with RecordRing(path) as ring:
            return is_engine_alive(ring)
    except FileNotFoundError:  # its keeper has just ended
        return False
    except DataError:  # an engine is making it
        return True


def _is_free(path: Path) -> bool:
    """Say whether a ring has no keeper now."""
    with lock_ring(path) as is_mine:
        return is_mine
