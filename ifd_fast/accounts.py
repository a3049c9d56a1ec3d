"""What happened to every record of a run: read = applied + handed out + skipped by reason.

The sums are checked before they are shown: a record that is in no account is a defect, and a run
that has one fails instead of reporting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ifd_fast.errors import IfdError
from ifd_fast.packages import count_packages
from ifd_kernels import book, pressure

if TYPE_CHECKING:
    from ifd_fast.engine import FlowEngine
    from ifd_fast.framing import Framer

__all__ = ["count_engine", "count_stream", "sum_streams"]

_ACTIONS: Final = {"A": 65, "C": 67, "M": 77, "R": 82, "T": 84, "F": 70, "N": 78}
_TRADES: Final = {
    "counted": pressure.TRADES_COUNTED,
    "without_size": pressure.TRADES_NO_SIZE,
    "without_time": pressure.TRADES_NO_TIME,
    "off_session": pressure.TRADES_OFF_SESSION,
    "late": pressure.TRADES_LATE,
    "ahead": pressure.TRADES_AHEAD,
    "in_snapshot": pressure.TRADES_SNAPSHOT,
}
_SUMS: Final = frozenset({"bytes", "records", "events", "handed", "skipped_bytes"})


def count_stream(name: str, framer: Framer) -> dict[str, Any]:
    """Return what framing made of one file, with the byte offsets of the first refusals."""
    counts = framer.counts()
    skipped = {reason: n for reason, n in counts.items() if reason not in _SUMS and n}
    return {
        "name": name,
        "bytes": counts["bytes"],
        "records": counts["records"],
        "events": counts["events"],
        "handed_out": counts["handed"],
        "skipped": skipped,
        "skipped_bytes": counts["skipped_bytes"],
        "first_refusals": [
            {"reason": reason, "byte": offset} for reason, offset in framer.refusals()
        ],
    }


def sum_streams(streams: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the sums over files; raise IfdError if a record is in no account."""
    skipped: dict[str, int] = {}
    for stream in streams:
        for reason, count in stream["skipped"].items():
            skipped[reason] = skipped.get(reason, 0) + count
    total = {key: sum(s[key] for s in streams) for key in ("records", "events", "handed_out")}
    walked = sum(count for reason, count in skipped.items() if reason != "unwalkable")
    if total["records"] != total["events"] + total["handed_out"] + walked:
        raise IfdError(
            f"{total['records']} records were read, but {total['events']} applied, "
            f"{total['handed_out']} handed out and {walked} skipped make another sum. "
            "This is a defect; please report it with the file."
        )
    return {**total, "skipped": skipped}


def count_engine(engine: FlowEngine) -> dict[str, Any]:
    """Return what the engine did with the events; raise IfdError if a trade is in no account."""
    state = engine.state
    flow = state.flow.counters
    actions = {name: int(state.actions[byte]) for name, byte in _ACTIONS.items()}
    trades = {name: int(flow[index]) for name, index in _TRADES.items()}
    if sum(trades.values()) != actions["T"]:
        raise IfdError(
            f"{actions['T']} trades were applied, but their accounts sum to "
            f"{sum(trades.values())}. This is a defect; please report it with the file."
        )
    health = {name: int(state.book.counters[index]) for name, index in book.HEALTH.items()}
    return {
        "applied": actions,
        "trades": trades,
        "packages": count_packages(state.packages),
        "events_ahead": int(flow[pressure.EVENTS_AHEAD]),
        "touches_late": int(flow[pressure.TOUCHES_LATE]),
        "instants_scored": int(flow[pressure.INSTANTS_SCORED]),
        "live_orders": int(state.book.counters[book.LIVE]),
        "book": {name: count for name, count in health.items() if count},
        "instruments": engine.instruments.opened,
        "instruments_unmapped": engine.instruments.unmapped_slots,
    }
