"""Trading states from a file beside the market data: each takes effect when it was received."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from ifd_fast.definitions import decode_status
from ifd_fast.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ifd_fast.desks import RecordDesk
    from ifd_fast.engine import FlowEngine
    from ifd_fast.framing import Handed

__all__ = ["schedule_statuses"]

_DAY_NS: Final = 86_400_000_000_000


def schedule_statuses(
    engine: FlowEngine,
    desk: RecordDesk,
    records: Sequence[Handed],
    days_ns: tuple[int, int],
    name: str = "status",
) -> int:
    """Have `desk` take each status record before the first event received then or later.

    `days_ns` is [start, end) of the market data. An id means something for a day only: those of
    the days the data touch, or of the one before their first, count; returns how many do. Raises
    SchemaError if there are records and none counts.
    """
    first, last = days_ns[0] // _DAY_NS - 1, max(days_ns[1] - 1, days_ns[0]) // _DAY_NS
    timed = [(decode_status(one.data).ts_recv_ns, one) for one in records]
    kept = [(ts_ns, one) for ts_ns, one in timed if first <= ts_ns // _DAY_NS <= last]
    if records and not kept:
        raise SchemaError(
            f"{name}: no status record is of a day of the market data. An instrument id means "
            "something for a day only: give the status file of the same days."
        )
    kept.sort(key=itemgetter(0))
    for ts_ns, run in groupby(kept, key=itemgetter(0)):
        engine.schedule(ts_ns, partial(desk.take, engine, [one for _, one in run]))
    return len(kept)
