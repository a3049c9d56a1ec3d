"""Event time: trades into one-second buckets, buckets into panes, panes into window rows.

Legend: n slots, o open seconds and h panes kept (both powers of two), m rows, s sessions.
The bucket of (slot, second) lies at `slot * o + (second & (o - 1))`, the pane of (slot, pane) at
`slot * h + (pane & (h - 1))`: slot-major, so that growth only appends. A pane is the greatest
common divisor of the window step and of the 300 s of the baselines' facts; every session begins
and ends on a pane's edge, and every window is a whole number of panes.

Only trades need buckets, to tell late ones to the second. A touch is wanted at the ends of panes
alone: a BBO change writes one cache line.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel, leaf, natural
from ifd_kernels.layout import (
    MARK_CROSSED,
    MARK_HALTED,
    MARK_LATE,
    SECOND_NS,
    SIDE_ASK,
    SIDE_BID,
    UNDEF_PRICE,
    UNDEF_SIZE,
    Integer,
    Records,
)

__all__ = [
    "Flow",
    "add_trade",
    "crossed_inside",
    "note_halt",
    "note_mark",
    "note_touch",
    "open_pane",
]

TRADES_COUNTED: Final = 0  # from here on: counters of Flow.counters
TRADES_NO_SIZE: Final = 1  # size 0 or UNDEF
TRADES_NO_TIME: Final = 2  # ts_event UNDEF
TRADES_OFF_SESSION: Final = 3
TRADES_LATE: Final = 4  # the second was sealed already
TRADES_AHEAD: Final = 5  # of an event that is ahead
TRADES_SNAPSHOT: Final = 6
EVENTS_AHEAD: Final = 7  # over 1 s after ts_recv, or after the watermark: for the book alone
TOUCHES_LATE: Final = 8  # a BBO change inside a sealed pane
SECONDS_SEALED: Final = 9
PANES_SEALED: Final = 10
INSTANTS_SCORED: Final = 11
EVENTS_SNAPSHOT: Final = 12
COUNTERS: Final = 16
AHEAD_LIMIT_NS: Final = SECOND_NS
LAG_LIMIT_NS: Final = 2 * SECOND_NS
CROSSED_LIMIT_NS: Final = SECOND_NS
# Which rows a ROW belongs to.
ROW_REPORT: Final = 1
ROW_FACTS: Final = 2

CLOCK: Final = np.dtype(
    [
        ("watermark_ns", "<i8"),  # -1 before the first event that moves it
        ("next_ns", "<i8"),  # nothing happens before the watermark reaches this
        ("next_instant_ns", "<i8"),
        ("sealed_second", "<i8"),  # all seconds before this one are sealed
        ("pane", "<i8"),  # the first pane that is not sealed
        ("pane_start_ns", "<i8"),
        ("pane_end_ns", "<i8"),
        ("session", "<i8"),  # the first session whose close is after pane_start_ns
        ("joined_session", "<i8"),  # the session whose baselines are joined
        ("slots", "<i8"),  # instruments in use
        ("fresh_count", "<i8"),
        ("row_count", "<i8"),
        ("quiet_panes", "<i8"),  # panes sealed without a trade since the last one with
        ("pane_trades", "<i8"),  # trades sealed into the first open pane so far
        ("lag_ns", "<i8"),  # ts_recv - ts_event of the record that moves the watermark
        ("observed_from_ns", "<i8"),
        ("snapshot_ns", "<i8"),  # the latest ts_recv in a snapshot, -1: there was none
        ("tape_marks", "<i8"),  # lasting marks of the whole feed
        ("tape_touched", "<i8"),  # feed marks that held at some time in the first open pane
        # settings
        ("lateness_ns", "<i8"),
        ("interval_ns", "<i8"),
        ("pane_ns", "<i8"),
        ("window_panes", "<i8"),
        ("step_panes", "<i8"),
        ("facts_panes", "<i8"),  # 0: the report's rows are the facts
        ("open_mask", "<i8"),  # o - 1
        ("pane_mask", "<i8"),  # h - 1
    ]
)

CARRY: Final = np.dtype(
    [
        ("bid_price_1e9", "<i8"),  # as of the last sealed pane's end
        ("ask_price_1e9", "<i8"),
        ("crossed_since_ns", "<i8"),  # -1: not crossed, or halted
        ("halted", "<i8"),  # 1: as the last status record says
        ("marks", "<i8"),  # lasting marks as of the last sealed pane's end
    ]
)

ROW: Final = np.dtype(
    [
        ("rows", "<i8"),  # ROW_REPORT | ROW_FACTS
        ("window_start_ns", "<i8"),
        ("window_end_ns", "<i8"),
        ("session", "<i8"),
        ("slot", "<i8"),
        ("bid_volume", "<i8"),
        ("ask_volume", "<i8"),
        ("unknown_volume", "<i8"),
        ("trades", "<i8"),
        ("ofi", "<i8"),
        ("bid_votes_1", "<i8"),
        ("ask_votes_1", "<i8"),
        ("bid_votes_10", "<i8"),
        ("ask_votes_10", "<i8"),
        ("package_volume", "<i8"),
        ("volatility_volume", "<i8"),
        ("bid_price_1e9", "<i8"),
        ("ask_price_1e9", "<i8"),
        ("underlying_mid2_1e9", "<i8"),  # bid + ask of the future as the window began
        ("marks", "<i8"),
    ]
)


class Flow(NamedTuple):
    """Everything between an applied event and a window row."""

    clock: Records  # (1,) CLOCK
    buckets: Records  # (n * o,) BUCKET
    busy: NDArray[np.int32]  # (o, n): slots with a bucket in that second
    busy_count: NDArray[np.int64]  # (o,)
    fresh: NDArray[np.int64]  # (n * o,): buckets the scorer has not seen
    panes: Records  # (n * h,) PANE
    carry: Records  # (n,) CARRY
    sessions: NDArray[np.int64]  # (s, 2): open and close, ns
    rows: Records  # (m,) ROW
    counters: NDArray[np.int64]  # (COUNTERS,)


@kernel
def clear_pane(panes: Records, index: Integer, pane: Integer) -> None:
    """Make the entry at `index` an empty pane with number `pane`."""
    entry = panes[index]
    entry["pane"] = pane
    entry["ofi"] = 0
    entry["bid_price_1e9"] = UNDEF_PRICE
    entry["ask_price_1e9"] = UNDEF_PRICE
    entry["mid2_open_1e9"] = UNDEF_PRICE
    entry["marks"] = 0
    entry["begun"] = 0
    entry["ended"] = 0
    entry["touched"] = 0
    entry["bid_volume"] = 0
    entry["ask_volume"] = 0
    entry["unknown_volume"] = 0
    entry["trades"] = 0
    entry["bid_votes_1"] = 0
    entry["ask_votes_1"] = 0
    entry["bid_votes_10"] = 0
    entry["ask_votes_10"] = 0
    entry["package_volume"] = 0
    entry["volatility_volume"] = 0


@leaf
def open_pane(flow: Flow, slot: Integer, pane: Integer) -> Integer:
    """Return the index of the entry of (slot, pane), made empty if it held an older pane."""
    index = slot * (flow.clock[0]["pane_mask"] + 1) + (pane & flow.clock[0]["pane_mask"])
    index = natural(index)
    if flow.panes[index]["pane"] != pane:
        clear_pane(flow.panes, index, pane)
    return index


@leaf
def pane_at(flow: Flow, ts_ns: Integer) -> Integer:
    """Return the number of the open pane that holds `ts_ns`, -1 if it is sealed.

    What claims to be from over a second after the watermark stands at the watermark: no pane
    further ahead is kept.
    """
    clock = flow.clock[0]
    when = ts_ns
    if ts_ns > clock["watermark_ns"] + AHEAD_LIMIT_NS:
        when = np.int64(clock["watermark_ns"])
    if when < clock["pane_start_ns"]:
        return -1
    if when < clock["pane_end_ns"]:
        return np.int64(clock["pane"])
    return when // clock["pane_ns"]


@leaf
def note_touch(
    flow: Flow,
    slot: Integer,
    ts_ns: Integer,
    ofi: Integer,
    bid: Integer,
    ask: Integer,
    crossed: Integer,
) -> None:
    """Keep a BBO change at `ts_ns`, or at the watermark if `ts_ns` is negative. O(1).

    `ofi` is the order-flow imbalance of this change alone; `crossed` is not 0 if the book was
    crossed before it or is now. A change inside a sealed pane becomes the first open pane's
    touch, for what follows it; its imbalance is added nowhere.
    """
    clock = flow.clock[0]
    step: Integer = ofi
    if clock["watermark_ns"] < 0:  # before event time begins there are no panes
        carry = flow.carry[slot]
        carry["bid_price_1e9"] = bid
        carry["ask_price_1e9"] = ask
        note_crossing(flow, slot, ts_ns, bid, ask)
        return
    when = ts_ns if ts_ns >= 0 else np.int64(clock["watermark_ns"])
    pane = pane_at(flow, when)
    if pane < 0:
        flow.counters[TOUCHES_LATE] += 1
        pane = np.int64(clock["pane"])
        step = np.int64(0)
    entry = flow.panes[open_pane(flow, slot, pane)]
    entry["ofi"] += step
    entry["bid_price_1e9"] = bid
    entry["ask_price_1e9"] = ask
    entry["touched"] = 1
    if crossed != 0:
        note_crossing(flow, slot, when, bid, ask)


@kernel
def note_crossing(flow: Flow, slot: Integer, ts_ns: Integer, bid: Integer, ask: Integer) -> None:
    """Follow how long the book of `slot` has been crossed; mark the panes once it is over 1 s."""
    carry = flow.carry[slot]
    since = carry["crossed_since_ns"]
    if bid != UNDEF_PRICE and ask != UNDEF_PRICE and bid >= ask:
        if since < 0 and carry["halted"] == 0:
            carry["crossed_since_ns"] = max(ts_ns, 0)
        return
    if since >= 0:
        carry["crossed_since_ns"] = -1
        clock = flow.clock[0]
        pane = np.int64(clock["pane"])
        while pane * clock["pane_ns"] <= ts_ns and pane <= clock["pane"] + clock["pane_mask"]:
            if crossed_inside(flow, since, pane, ts_ns):
                entry = flow.panes[open_pane(flow, slot, pane)]
                entry["marks"] = np.uint16(entry["marks"] | MARK_CROSSED)
            pane += 1


@kernel
def crossed_inside(flow: Flow, since_ns: Integer, pane: Integer, until_ns: Integer) -> bool:
    """Tell whether a book crossed from `since_ns` to `until_ns` had been so for 1 s in `pane`.

    Before a session's open nothing trades continuously: that time does not count.
    """
    clock = flow.clock[0]
    start = since_ns
    session = clock["session"]
    if session < flow.sessions.shape[0]:
        start = max(start, flow.sessions[session, 0])
    end = min(until_ns, (pane + 1) * clock["pane_ns"])
    return bool(end - start > CROSSED_LIMIT_NS and end > pane * clock["pane_ns"])


@kernel
def note_mark(flow: Flow, slot: Integer, ts_ns: Integer, mark: Integer, lasting: Integer) -> None:
    """Set quality `mark` on the pane of `ts_ns`; `lasting` 1: from now on, -1: until now, 0: once.

    Without event time, or in a sealed pane, the first open pane takes it.
    """
    clock = flow.clock[0]
    if clock["watermark_ns"] < 0:
        if lasting > 0:
            flow.carry[slot]["marks"] = flow.carry[slot]["marks"] | mark
        elif lasting < 0:
            flow.carry[slot]["marks"] = flow.carry[slot]["marks"] & ~mark
        return
    when = ts_ns if ts_ns >= 0 else np.int64(clock["watermark_ns"])
    pane = pane_at(flow, when)
    if pane < 0:
        pane = np.int64(clock["pane"])
    entry = flow.panes[open_pane(flow, slot, pane)]
    if lasting >= 0:
        entry["marks"] = np.uint16(entry["marks"] | mark)
    if lasting > 0:
        entry["begun"] = np.uint16(entry["begun"] | mark)
        entry["ended"] = np.uint16(np.int64(entry["ended"]) & ~np.int64(mark))
    elif lasting < 0:
        entry["ended"] = np.uint16(entry["ended"] | mark)
        entry["begun"] = np.uint16(np.int64(entry["begun"]) & ~np.int64(mark))


@kernel
def note_halt(
    flow: Flow, slot: Integer, ts_ns: Integer, halted: Integer, bid: Integer, ask: Integer
) -> None:
    """Mark the windows a halt touches, from `ts_ns` on (`halted` 1) or until then (0).

    `bid` and `ask` are those of the book as it stands: what is crossed while nothing trades
    counts from when trading resumes.
    """
    clock = flow.clock[0]
    carry = flow.carry[slot]
    note_mark(flow, slot, ts_ns, MARK_HALTED, 1 if halted else -1)
    if carry["halted"] == halted:
        return
    when = ts_ns
    if clock["watermark_ns"] >= 0:
        if ts_ns < 0 or ts_ns > clock["watermark_ns"] + AHEAD_LIMIT_NS:
            when = np.int64(clock["watermark_ns"])
    if halted:
        note_crossing(flow, slot, when, UNDEF_PRICE, UNDEF_PRICE)
        carry["halted"] = 1
    else:
        carry["halted"] = 0
        note_crossing(flow, slot, when, bid, ask)


@kernel
def in_session(flow: Flow, ts_ns: Integer) -> bool:
    """Tell whether `ts_ns` lies in the session in force or in the one after it."""
    session = flow.clock[0]["session"]
    for step in range(2):
        i = session + step
        if i < flow.sessions.shape[0] and flow.sessions[i, 0] <= ts_ns < flow.sessions[i, 1]:
            return True
    return False


@kernel
def add_trade(flow: Flow, slot: Integer, ts_ns: Integer, size: Integer, side: Integer) -> None:
    """Add one trade to its second, or count why it belongs to none. O(1).

    `side` is the aggressor: A hit the bid, B lifted the ask, N is unknown. Invariant: every
    trade is in exactly one counter.
    """
    clock = flow.clock[0]
    counters = flow.counters
    if size == 0 or size == UNDEF_SIZE:
        counters[TRADES_NO_SIZE] += 1
        return
    if ts_ns < 0:
        counters[TRADES_NO_TIME] += 1
        return
    second = ts_ns // SECOND_NS
    if clock["watermark_ns"] < 0 or second - clock["sealed_second"] > clock["open_mask"]:
        counters[TRADES_AHEAD] += 1
        return
    if second < clock["sealed_second"]:
        counters[TRADES_LATE] += 1
        note_mark(flow, slot, ts_ns, MARK_LATE, 0)
        return
    if not in_session(flow, ts_ns):
        counters[TRADES_OFF_SESSION] += 1
        return
    counters[TRADES_COUNTED] += 1
    index = slot * (clock["open_mask"] + 1) + (second & clock["open_mask"])
    bucket = flow.buckets[index]
    if bucket["second"] != second:
        open_bucket(flow, slot, second, index)
    bucket["trades"] += 1
    if side == SIDE_ASK:
        bucket["bid_volume"] += size
    elif side == SIDE_BID:
        bucket["ask_volume"] += size
    else:
        bucket["unknown_volume"] += size
        return
    if bucket["fresh"] == 0:
        bucket["fresh"] = 1
        flow.fresh[clock["fresh_count"]] = index
        clock["fresh_count"] += 1


@kernel
def open_bucket(flow: Flow, slot: Integer, second: Integer, index: Integer) -> None:
    """Make the bucket at `index` an empty one of `second` and list its slot as busy."""
    bucket = flow.buckets[index]
    bucket["second"] = second
    bucket["bid_volume"] = 0
    bucket["ask_volume"] = 0
    bucket["unknown_volume"] = 0
    bucket["scored_bid_volume"] = 0
    bucket["scored_ask_volume"] = 0
    bucket["trades"] = 0
    bucket["fresh"] = 0
    row = second & flow.clock[0]["open_mask"]
    flow.busy[row, flow.busy_count[row]] = slot
    flow.busy_count[row] += 1
