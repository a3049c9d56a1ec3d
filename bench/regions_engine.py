"""Counted work of the engine: the whole loop over events, and the packing of rows."""

from __future__ import annotations

import numpy as np

from bench.streams import mbo_stream
from bench.workloads import Thunk, region
from ifd_fast.calendar import load_sessions
from ifd_fast.engine import FlowEngine
from ifd_fast.framing import Framer
from ifd_fast.profiles import Profile
from ifd_kernels.digest import pack_fixed

__all__ = ["advance", "pack"]

EVENTS = 16_384
VALUES = 4_096


@region("engine.advance", events=EVENTS, covers=("pressure", "windows"))
def advance() -> Thunk:
    """Frame and apply one batch in a fresh engine: book, flow and what is settled in between."""
    data = np.frombuffer(bytearray(mbo_stream(EVENTS).tobytes()), np.uint8)
    engine = FlowEngine(Profile(book_capacity_orders=16_384), load_sessions())
    framer = Framer(engine.state.ring, 3)
    return lambda: engine.feed(framer, data)


@region("digest.pack_fixed", events=VALUES)
def pack() -> Thunk:
    """Pack one column of numbers."""
    values, nulls = np.ones((VALUES, 8), np.uint8), np.zeros(VALUES, bool)
    cursor, out = np.arange(VALUES) * 9, np.zeros(VALUES * 9, np.uint8)
    return lambda: pack_fixed(values, nulls, cursor, out)
