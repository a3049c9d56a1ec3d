"""Give an engine's loop the address of the code that it calls once a second of event time.

The two are half of all kernels each, and share little: on a first start a second process compiles
one while this one compiles the other.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import numpy as np

from ifd_fast.logs import get_logger
from ifd_kernels import _jit
from ifd_kernels._packed import Packed
from ifd_kernels.engine import PASS_TIME
from ifd_kernels.feeding import NOTHING_DUE_NS, Feed, Names, Wire, feed_bytes
from ifd_kernels.layout import CONSUMED, DONE
from ifd_kernels.passing import pass_time
from ifd_kernels.wire import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ifd_fast.instruments import Instruments
    from ifd_kernels.engine import Engine

__all__ = ["NO_WIRE", "Packing", "also_beside", "compiled_beside", "link_time"]

_NO_PAIRS: Final = np.zeros((1, 2), np.int64)
NO_WIRE: Final = Wire(
    np.zeros(256, np.int64), _NO_PAIRS, _NO_PAIRS.copy(), np.zeros(COUNTERS, np.int64)
)

_done_beside: set[str] = set()  # kernels that second processes compiled
_also: list[str] = []
_NOTHING: Final = np.zeros(0, np.uint8)
_COMPILE: Final = (
    "from ifd_fast.warming import compile_time; "
    "sys.stdout.write(' '.join(sorted(compile_time({names!r}))))"
)


@contextmanager
def also_beside(names: Sequence[str]) -> Iterator[None]:
    """Have a second process that compiles half of a loop do these works of `warming` as well."""
    _also[:] = names
    try:
        yield
    finally:
        _also.clear()


class Packing:
    """What an engine's loop is given, packed; packed anew only when an array of it is another."""

    def __init__(self) -> None:
        """Begin with nothing packed."""
        self._feed: Packed[Feed] | None = None

    def pack(self, engine: Engine, known: Instruments, wire: Wire) -> Packed[Feed]:
        """Return all that feeding needs; the first time, its loop is compiled or loaded."""
        if self._feed is not None:
            packed, names, framing = self._feed.held
            if packed is engine and framing is wire and names.seen is known.seen:
                return self._feed
        self._feed = None  # its words must not outlive what they point at
        names = Names(known.id_map, known.seen, known.counts)
        _link(engine, names)
        self._feed = Packed(Feed(engine, names, wire))
        return self._feed


def _link(engine: Engine, names: Names) -> None:
    """Make `engine` ready to be fed: compile or load its loop, and what the loop calls.

    Does nothing to an engine that is linked.
    """
    if engine.entries[PASS_TIME]:
        return
    other = None
    if _jit.cache_folder() is not None and not _jit.is_kept(pass_time):
        other = _compile_beside()
    nothing = int(engine.ring.cursor[CONSUMED])  # leave all events where they are
    feed = Packed(Feed(engine, names, NO_WIRE))
    feed_bytes(feed, _NOTHING, 0, 0, NOTHING_DUE_NS, DONE, nothing)
    if other is not None:
        _await(other)
    link_time(engine)


def _await(other: subprocess.Popen[bytes]) -> None:
    """Wait for the second compiler; if it failed, its work is done here, only later."""
    said, _ = other.communicate()
    if other.returncode == 0:
        _done_beside.update(said.decode().split())
        return
    get_logger("ifd").warning("the second compiler of kernels failed", exit_code=other.returncode)


def compiled_beside() -> frozenset[str]:
    """Return the names of the kernels that second processes have compiled for this one."""
    return frozenset(_done_beside)


def link_time(engine: Engine) -> None:
    """Compile or load what the loop calls, and note its address."""
    state = engine.flow, engine.packages, engine.score, engine.identities, engine.book.touch
    engine.entries[PASS_TIME] = _jit.address_of(pass_time, (*state, 0))


def _compile_beside() -> subprocess.Popen[bytes]:
    """Start a process that compiles `pass_time` into the cache, and does what it is to do also."""
    from ifd_fast.config import child_environment

    code = f"import sys; sys.path[:] = {sys.path!r}; {_COMPILE.format(names=_also)}"
    nothing = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=nothing, stdout=subprocess.PIPE, stderr=nothing,
        env=child_environment(),
    )  # fmt: skip
