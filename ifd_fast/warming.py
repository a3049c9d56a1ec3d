"""Compile every kernel before the first record, so that none compiles in the middle of a session.

Each part registers one small piece of work that calls its kernels through the same border, with
the same types, as real work does; a kernel compiled for other types would compile again. The
compiled code stays in the cache folder of `ifd_kernels._jit`, and the next start only loads it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

__all__ = ["Warmed", "warm_up", "warms"]

Work: TypeAlias = Callable[[], object]

_WORKS: Final[dict[str, Work]] = {}


class Warmed(NamedTuple):
    """What a warm-up did."""

    folder: Path | None  # of the compiled code; None: it can't be written, nothing is kept
    seconds: float
    kernels: int  # called from Python, and now ready; leaves are compiled into their callers
    compiled: int  # of these, not found in the cache


def warms(name: str) -> Callable[[Work], Work]:
    """Register a function that calls the kernels of part `name` once."""
    if name in _WORKS:
        raise ValueError(f"the warm-up of {name} is registered twice")

    def register(work: Work) -> Work:
        _WORKS[name] = work
        return work

    return register


def warm_up() -> Warmed:
    """Run all registered work and return what it took."""
    from ifd_kernels import _jit

    started = time.perf_counter()
    for work in _WORKS.values():
        work()
    seconds = time.perf_counter() - started
    dispatchers: list[Any] = list(_jit.kernels().values())
    ready = [one for one in dispatchers if getattr(one, "signatures", ())]
    compiled = sum(bool(one.stats.cache_misses) for one in ready)
    return Warmed(_jit.cache_folder(), seconds, len(ready), compiled)


@warms("wire")
def _frame() -> None:
    """Frame two MBO records of the wire's own layout, the second one of an unknown action."""
    from ifd_fast.framing import allocate_ring, record_bytes
    from ifd_kernels import wire
    from ifd_kernels.layout import MBO_BYTES, RTYPE_MBO

    buffer = np.zeros(2 * MBO_BYTES, np.uint8)
    buffer[0] = buffer[MBO_BYTES] = MBO_BYTES // 4
    buffer[1] = buffer[MBO_BYTES + 1] = RTYPE_MBO
    buffer[38], buffer[39] = ord("A"), ord("B")
    handed, refused = np.zeros((8, 2), np.int64), np.zeros((8, 2), np.int64)
    counters = np.zeros(wire.COUNTERS, np.int64)
    wire.frame_batch(
        buffer, 0, buffer.size, record_bytes(3), 4, allocate_ring(4), handed, refused, counters
    )


@warms("instruments")
def _resolve() -> None:
    """Resolve two events of ids nobody knows, growing in between, and name a third."""
    from ifd_fast.framing import allocate_ring
    from ifd_fast.instruments import Instruments

    ring = allocate_ring(4)
    ring.instrument_id[:2] = (1, 2)
    instruments = Instruments(1)
    instruments.resolve(ring, 0, 2)
    instruments.add_mapping(3, "ESH4")
