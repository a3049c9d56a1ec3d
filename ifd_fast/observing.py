"""What a stream's header says: since when the stream is whole, and what its ids mean each day."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ifd_fast.engine import FlowEngine
    from ifd_fast.sources import Metadata

__all__ = ["observe"]

_DAY_NS: Final = 86_400_000_000_000


def observe(engine: FlowEngine, metadata: Metadata) -> None:
    """Tell the engine what the header says; a live header, without schema, says nothing.

    The ids of the first day are named at once, those of a later one before its first event.
    """
    if metadata.schema is None:
        return
    if engine.observed_from_ns < 0:
        engine.observe_from(metadata.start_ns)
    first_day = metadata.start_ns // _DAY_NS
    last_ns = metadata.start_ns if metadata.end_ns is None else metadata.end_ns - 1
    for day in range(first_day, max(first_day, last_ns // _DAY_NS) + 1):
        date = dt.date(1970, 1, 1) + dt.timedelta(days=day)
        name_ids = partial(engine.instruments.add_metadata_mappings, metadata, date)
        if day == first_day:
            name_ids()
        else:
            engine.schedule(day * _DAY_NS, name_ids)
    engine.use_slots()
