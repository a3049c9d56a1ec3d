"""Whose the resident bytes of this process are: pages of each array, by who holds it.

The system says of each page whether it is there (`/proc/self/pagemap`), so an array counts with
what it has touched, not with what it has reserved. What no array of the engine holds is told apart
by kind of mapping: mapped files, Python's own arenas, the C heap, and what other libraries map.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from ifd_fast.engine import FlowEngine
from ifd_fast.instruments import Instruments

__all__ = ["resident_by_owner"]

_PAGE: Final = 4096
_PRESENT: Final = np.uint64(1 << 63)
_ARENAS: Final = re.compile(r"(\d+) arenas \* (\d+) bytes/arena")


def resident_by_owner() -> dict[str, float]:
    """Return resident MB by owner, the biggest first; their sum is that of the process."""
    found: dict[str, float] = {}
    for engine in (one for one in gc.get_objects() if isinstance(one, FlowEngine)):
        for owner, array in _arrays(engine):
            found[owner] = found.get(owner, 0.0) + _resident(array) / 1e6
    arrays = sum(found.values())
    kinds = _mappings()
    found["mapped files"] = kinds.pop("file")
    found["Python objects (arenas)"] = _arenas() / 1e6
    heap = _heap()
    found["C heap, free"] = heap["fordblks"] / 1e6
    rest = sum(kinds.values()) - arrays - found["Python objects (arenas)"] - heap["fordblks"] / 1e6
    found["other (C heap in use, libraries)"] = rest
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def _arrays(engine: FlowEngine) -> list[tuple[str, np.ndarray[Any, Any]]]:
    state = engine.state
    found = [(f"ring.{name}", array) for name, array in state.ring._asdict().items()]
    found += [(f"flow.{name}", array) for name, array in state.flow._asdict().items()]
    found += [(f"score.{name}", array) for name, array in state.score._asdict().items()]
    found += [(f"levels.{name}", array) for name, array in state.book.levels._asdict().items()]
    found += [
        (f"book.{name}", array) for name, array in state.book._asdict().items() if name != "levels"
    ]
    instruments: Instruments = engine.instruments
    found += [
        (f"instruments.{name}", getattr(instruments, name))
        for name in ("identities", "seen", "id_map")
    ]
    return [(owner, array) for owner, array in found if isinstance(array, np.ndarray)]


def _resident(array: np.ndarray[Any, Any]) -> int:
    """Return the bytes of the array's pages that are there."""
    first = array.ctypes.data // _PAGE
    last = -(-(array.ctypes.data + array.nbytes) // _PAGE)
    with Path("/proc/self/pagemap").open("rb") as pagemap:
        pagemap.seek(first * 8)
        entries = np.frombuffer(pagemap.read((last - first) * 8), np.uint64)
    pages = int(np.count_nonzero(entries & _PRESENT))
    return min(pages * _PAGE, array.nbytes)


def _mappings() -> dict[str, float]:
    """Return resident MB of mapped files, of the C heap and of all other mappings."""
    kinds = {"file": 0.0, "heap": 0.0, "anonymous": 0.0}
    kind = "anonymous"
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.startswith("Rss:"):
            kinds[kind] += int(line.split()[1]) * 1024 / 1e6
        elif not line.split()[0].endswith(":"):
            name = line.split(maxsplit=5)[5:] or [""]
            is_file = "/" in name[0] and name != ["/dev/zero"]  # memory that may be shared
            kind = "heap" if name == ["[heap]"] else "file" if is_file else "anonymous"
    return kinds


def _arenas() -> int:
    """Return the bytes of the arenas that Python's allocator holds."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            sys._debugmallocstats()  # noqa: SLF001  # the one way to learn of arenas
        finally:
            ctypes.CDLL(None).fflush(None)
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        match = _ARENAS.search(file.read().decode())
    return int(match[1]) * int(match[2]) if match else 0


_MALLINFO: Final = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _Mallinfo(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in _MALLINFO)


def _heap() -> dict[str, int]:
    """Return what glibc says of its heap; free blocks may have no pages."""
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = _Mallinfo
    info = library.mallinfo2()
    return {name: int(getattr(info, name)) for name in _MALLINFO}
