"""Windows: what is settled when event time passes a second, a pane or a window's end.

Legend: n slots, m rows. The state is `pressure.Flow`; every kernel here is called between two
events, so cost is per second or per pane, never per event.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ifd_kernels._jit import kernel
from ifd_kernels.layout import (
    MARK_CROSSED,
    MARK_LAGGING,
    SECOND_NS,
    UNDEF_PRICE,
    Integer,
    Records,
)
from ifd_kernels.pressure import (
    LAG_LIMIT_NS,
    PANES_SEALED,
    SECONDS_SEALED,
    Flow,
    crossed_inside,
    open_pane,
)

__all__ = ["begin_pane", "emit_rows", "seal_pane", "seal_second", "set_next", "start_clock"]

# Prices beyond it (UNDEF_PRICE is one) have no mid: the sum of two would not fit.
MID_LIMIT_1E9: Final = 2**62


@kernel
def set_next(flow: Flow) -> None:
    """Set when the next thing happens: a second is sealed, or an instant is scored."""
    clock = flow.clock[0]
    seal_ns = (clock["sealed_second"] + 1) * SECOND_NS + clock["lateness_ns"]
    clock["next_ns"] = min(seal_ns, clock["next_instant_ns"])


@kernel
def begin_pane(flow: Flow, pane: Integer) -> None:
    """Make `pane` the first open one and note each slot's mid as it begins. O(n)."""
    clock = flow.clock[0]
    clock["pane"] = pane
    clock["pane_start_ns"] = pane * clock["pane_ns"]
    clock["pane_end_ns"] = (pane + 1) * clock["pane_ns"]
    clock["pane_trades"] = 0
    clock["tape_touched"] = clock["tape_marks"]
    session = clock["session"]
    while session < flow.sessions.shape[0] and flow.sessions[session, 1] <= clock["pane_start_ns"]:
        session += 1
    clock["session"] = session
    for slot in range(clock["slots"]):
        index = open_pane(flow, slot, pane)
        bid = flow.carry[slot]["bid_price_1e9"]
        ask = flow.carry[slot]["ask_price_1e9"]
        if -MID_LIMIT_1E9 < bid < MID_LIMIT_1E9 and -MID_LIMIT_1E9 < ask < MID_LIMIT_1E9:
            flow.panes[index]["mid2_open_1e9"] = bid + ask


@kernel
def start_clock(flow: Flow, ts_ns: Integer) -> None:
    """Begin event time at `ts_ns`, the first event that moves the watermark."""
    clock = flow.clock[0]
    second = (ts_ns - clock["lateness_ns"]) // SECOND_NS
    pane = second * SECOND_NS // clock["pane_ns"]
    clock["sealed_second"] = second
    clock["next_instant_ns"] = (ts_ns // clock["interval_ns"] + 1) * clock["interval_ns"]
    if clock["observed_from_ns"] < 0:
        clock["observed_from_ns"] = ts_ns
    for slot in range(clock["slots"]):
        if flow.carry[slot]["crossed_since_ns"] >= 0:  # since when is not known
            flow.carry[slot]["crossed_since_ns"] = ts_ns
    begin_pane(flow, pane)
    set_next(flow)


@kernel
def seal_second(flow: Flow) -> None:
    """Fold the buckets of the first open second into their panes. O(slots that traded in it).

    Votes are those of contracts handed to the scorer: all of them have been, but packages.
    """
    clock = flow.clock[0]
    second = clock["sealed_second"]
    row = second & clock["open_mask"]
    pane = second * SECOND_NS // clock["pane_ns"]
    for i in range(flow.busy_count[row]):
        slot = np.int64(flow.busy[row, i])
        bucket = flow.buckets[slot * (clock["open_mask"] + 1) + row]
        entry = flow.panes[open_pane(flow, slot, pane)]
        entry["bid_volume"] += bucket["bid_volume"]
        entry["ask_volume"] += bucket["ask_volume"]
        entry["unknown_volume"] += bucket["unknown_volume"]
        entry["trades"] += bucket["trades"]
        entry["bid_votes_1"] += min(bucket["scored_bid_volume"], 1)
        entry["ask_votes_1"] += min(bucket["scored_ask_volume"], 1)
        entry["bid_votes_10"] += min(bucket["scored_bid_volume"], 10)
        entry["ask_votes_10"] += min(bucket["scored_ask_volume"], 10)
        clock["pane_trades"] += bucket["trades"]
        bucket["second"] = -1
    flow.busy_count[row] = 0
    clock["sealed_second"] = second + 1
    flow.counters[SECONDS_SEALED] += 1


@kernel
def seal_pane(flow: Flow) -> None:
    """Settle the first open pane: touches at its end, marks that held inside. O(n)."""
    clock = flow.clock[0]
    pane = clock["pane"]
    feed = np.int64(clock["tape_touched"])
    if clock["lag_ns"] > LAG_LIMIT_NS:
        feed = feed | MARK_LAGGING
    for slot in range(clock["slots"]):
        entry = flow.panes[open_pane(flow, slot, pane)]
        carry = flow.carry[slot]
        if entry["touched"] != 0:
            carry["bid_price_1e9"] = entry["bid_price_1e9"]
            carry["ask_price_1e9"] = entry["ask_price_1e9"]
        else:
            entry["bid_price_1e9"] = carry["bid_price_1e9"]
            entry["ask_price_1e9"] = carry["ask_price_1e9"]
        marks = np.int64(entry["marks"]) | carry["marks"] | feed
        since = carry["crossed_since_ns"]
        end_ns = np.int64(clock["pane_end_ns"])
        if since >= 0 and crossed_inside(flow, since, pane, end_ns):
            marks = marks | MARK_CROSSED
        entry["marks"] = np.uint16(marks)
        held = (carry["marks"] | np.int64(entry["begun"])) & ~np.int64(entry["ended"])
        carry["marks"] = held
    clock["quiet_panes"] = 0 if clock["pane_trades"] > 0 else clock["quiet_panes"] + 1
    flow.counters[PANES_SEALED] += 1


@kernel
def sum_panes(flow: Flow, slot: Integer, first: Integer, last: Integer, row: Any) -> Integer:
    """Sum the panes `first` to `last` of `slot` into `row`; return the number of trades."""
    clock = flow.clock[0]
    base = slot * (clock["pane_mask"] + 1)
    trades = np.int64(0)
    for pane in range(first, last + 1):
        entry = flow.panes[base + (pane & clock["pane_mask"])]
        if entry["pane"] == pane:
            trades += entry["trades"]
    if trades == 0:
        return trades
    row["bid_volume"] = 0
    row["ask_volume"] = 0
    row["unknown_volume"] = 0
    row["trades"] = trades
    row["ofi"] = 0
    row["bid_votes_1"] = 0
    row["ask_votes_1"] = 0
    row["bid_votes_10"] = 0
    row["ask_votes_10"] = 0
    row["package_volume"] = 0
    row["volatility_volume"] = 0
    row["marks"] = 0
    for pane in range(first, last + 1):
        entry = flow.panes[base + (pane & clock["pane_mask"])]
        if entry["pane"] != pane:
            continue
        row["bid_volume"] += entry["bid_volume"]
        row["ask_volume"] += entry["ask_volume"]
        row["unknown_volume"] += entry["unknown_volume"]
        row["ofi"] += entry["ofi"]
        row["bid_votes_1"] += entry["bid_votes_1"]
        row["ask_votes_1"] += entry["ask_votes_1"]
        row["bid_votes_10"] += entry["bid_votes_10"]
        row["ask_votes_10"] += entry["ask_votes_10"]
        row["package_volume"] += entry["package_volume"]
        row["volatility_volume"] += entry["volatility_volume"]
        # Lag counts at the window's end, that is in its last pane.
        row["marks"] = (row["marks"] & ~MARK_LAGGING) | np.int64(entry["marks"])
        row["bid_price_1e9"] = entry["bid_price_1e9"]
        row["ask_price_1e9"] = entry["ask_price_1e9"]
    return trades


@kernel
def underlying_mid2(flow: Flow, identities: Records, slot: Integer, pane: Integer) -> Integer:
    """Return bid + ask of the slot's underlying future as `pane` began, or UNDEF_PRICE."""
    future = np.int64(identities[slot]["underlying_slot"])
    if future < 0 or future >= flow.clock[0]["slots"]:
        return UNDEF_PRICE
    mask = flow.clock[0]["pane_mask"]
    entry = flow.panes[future * (mask + 1) + (pane & mask)]
    return np.int64(entry["mid2_open_1e9"]) if entry["pane"] == pane else UNDEF_PRICE


@kernel
def emit_rows(
    flow: Flow, identities: Records, panes: Integer, step: Integer, rows: Integer
) -> None:
    """Append a row for each slot that traded in the window that ends with the first open pane.

    The window holds `panes` panes and ends at multiples of `step` panes, or where the session
    closes; it never reaches back over the session's open. Call it when the pane is sealed and
    before the next begins, with room for n rows. Rows come in slot order; the border sorts them
    by instrument_id. O(n * panes).
    """
    clock = flow.clock[0]
    session = clock["session"]
    if session >= flow.sessions.shape[0] or clock["pane_start_ns"] < flow.sessions[session, 0]:
        return
    last = np.int64(clock["pane"])
    closing = clock["pane_end_ns"] >= flow.sessions[session, 1]
    if (last + 1) % step != 0 and not closing:
        return
    end = (last + step) // step * step  # the window's nominal end, one past its last pane
    first = max(end - panes, flow.sessions[session, 0] // clock["pane_ns"])
    for slot in range(clock["slots"]):
        row = flow.rows[clock["row_count"]]
        if sum_panes(flow, slot, first, last, row) == 0:
            continue
        row["rows"] = rows
        row["window_start_ns"] = first * clock["pane_ns"]
        row["window_end_ns"] = clock["pane_end_ns"]
        row["session"] = session
        row["slot"] = slot
        row["underlying_mid2_1e9"] = underlying_mid2(flow, identities, slot, first)
        clock["row_count"] += 1
