"""The simulated market's clock: packets of quotes and trades, one after another, as DBN records."""

from __future__ import annotations

from typing import Final

import numpy as np

from ifd_kernels._jit import kernel, leaf
from ifd_kernels.layout import (
    ACTION_ADD,
    ACTION_CLEAR,
    DONE,
    F_BAD_TS_RECV,
    F_LAST,
    F_SNAPSHOT,
    NEED_ROWS,
    SECOND_NS,
    SIDE_ASK,
    SIDE_BID,
    SIDE_NONE,
    UNDEF_PRICE,
)
from ifd_kernels.market_quotes import emit, fair_rung, place_deep, price_of, quote_any
from ifd_kernels.market_state import (
    HEADROOM_RECORDS,
    R_CLOSE_NS,
    R_DEEP_RUNGS,
    R_FUTURE_HIGH,
    R_FUTURE_LOW,
    R_FUTURE_SHARE,
    R_MOVE,
    R_MOVE_RUNGS,
    R_NEAR,
    R_OPEN_NS,
    R_RECORDS,
    R_SAME,
    R_TRADE,
    S_CHILD,
    S_CURSOR,
    S_FUTURE,
    S_ORDER,
    S_PRIORITY,
    S_RECORDS,
    S_SENDING,
    S_SEQUENCE,
    S_TRIES,
    S_TS_EVENT,
    S_TS_RECV,
    S_WRITTEN,
    TABLE_FUTURE_SIZE,
    TABLE_GAP,
    TABLE_LATENCY,
    TABLE_LENGTH,
    TABLE_PACKET,
    TABLE_QUOTE_SIZE,
    TABLE_SENDING,
    WORDS,
    Integer,
    Market,
)
from ifd_kernels.market_trades import trade
from ifd_kernels.randomness import draw_alias, next_bits

__all__ = [
    "fill_books",
    "move_future",
    "next_time",
    "run",
    "send_quotes",
    "snapshot",
    "start_packet",
    "trade_child",
]

SNAPSHOT: Final = F_SNAPSHOT | F_BAD_TS_RECV
FIVE_MINUTES_NS: Final = 300 * SECOND_NS
TRIES_MAX: Final = 200  # a child that finds nobody so often is left out


@leaf
def start_packet(market: Market, ts_event_ns: Integer, bits: Integer) -> None:
    """Set the clock for the records of one packet sent at `ts_event_ns`.

    ts_recv never runs backwards: a late packet holds up those behind it, as on a wire.
    """
    state = market.state
    state[S_TS_EVENT] = ts_event_ns
    late = market.tables[TABLE_LATENCY, bits & (TABLE_LENGTH - 1)]
    state[S_TS_RECV] = max(state[S_TS_RECV] + 40, ts_event_ns + late)
    state[S_SENDING] = market.tables[TABLE_SENDING, (bits >> 12) & (TABLE_LENGTH - 1)]
    state[S_SEQUENCE] += 1 + ((bits >> 24) & (bits >> 26) & 3)


@leaf
def next_time(market: Market, bits: Integer) -> Integer:
    """Return the time of the next packet: heavy-tailed gaps at the pace of the time of day."""
    ts_event_ns = market.state[S_TS_EVENT]
    part = (ts_event_ns - market.rule[R_OPEN_NS]) // FIVE_MINUTES_NS
    part = min(max(part, 0), market.pace.shape[0] - 1)
    gap = market.tables[TABLE_GAP, bits & (TABLE_LENGTH - 1)] * market.pace[part] >> 16
    return ts_event_ns + gap


@leaf
def move_future(market: Market, bits: Integer) -> None:
    """Take one step of the future's walk, between the walls that keep far orders far."""
    if bits & 0xFFFF >= market.rule[R_MOVE]:
        return
    step = market.rule[R_MOVE_RUNGS]
    rung = market.state[S_FUTURE] + (step if (bits >> 16) & 1 else -step)
    if market.rule[R_FUTURE_LOW] <= rung <= market.rule[R_FUTURE_HIGH]:
        market.state[S_FUTURE] = rung


@kernel
def send_quotes(market: Market, bits: Integer, wanted: Integer) -> None:
    """Publish one packet of quotes: the future's, one instrument's, or several instruments'.

    `wanted` is a slot whose makers are called for, -1: chance decides. All of a quote is compiled
    into this loop, 77 ns a record instead of 180 with a call for each; into `run` as well it
    would save no time and cost another 5 s of compilation.
    """
    count = market.tables[TABLE_PACKET, bits & (TABLE_LENGTH - 1)]
    bits >>= 12
    slot = np.int64(max(wanted, 0))
    fixed = wanted >= 0 or (bits & 0xFFFF) < market.rule[R_FUTURE_SHARE]
    same = fixed or (bits >> 16) & 0xFFFF < market.rule[R_SAME]
    if fixed:
        count = np.int64(4 if wanted >= 0 else 1)
    for number in range(count):
        if not fixed and (number == 0 or not same):
            picked = next_bits(market.seed)
            slot = draw_alias(picked, market.quote_threshold, market.quote_other)
        quote_any(market, slot)


@kernel
def run(market: Market) -> Integer:
    """Write continuous trading to `out`: DONE at the close or the last record, else NEED_ROWS.

    What is written does not depend on the size of `out`: stopped anywhere and called again with
    `out` emptied, the stream goes on where it was.
    """
    state = market.state
    plan = market.plan
    capacity = market.out.shape[0] // WORDS - HEADROOM_RECORDS
    while state[S_RECORDS] < market.rule[R_RECORDS]:
        if state[S_WRITTEN] > capacity:
            return NEED_ROWS
        bits = next_bits(market.seed)
        more = next_bits(market.seed)
        ts_event_ns = next_time(market, bits)
        child = state[S_CHILD]
        planted = child < plan.shape[0] and plan[child]["ts_event_ns"] <= ts_event_ns
        if planted:
            ts_event_ns = max(plan[child]["ts_event_ns"], state[S_TS_EVENT])
        if ts_event_ns >= market.rule[R_CLOSE_NS]:
            return DONE
        start_packet(market, ts_event_ns, bits >> 12)
        move_future(market, bits >> 44)
        if planted:
            trade_child(market, child, more)
        elif (more & 0xFFFF) < market.rule[R_TRADE]:
            picked = next_bits(market.seed)
            slot = draw_alias(picked, market.trade_threshold, market.trade_other)
            trade(market, slot, (picked >> 48) & 1 == 1, 0, more >> 16, False)
        else:
            send_quotes(market, more >> 16, np.int64(-1))
    return DONE


@kernel
def trade_child(market: Market, child: Integer, bits: Integer) -> None:
    """Trade the next child of a planted metaorder in full, and note how."""
    plan = market.plan
    slot = np.int64(plan[child]["slot"])
    is_buy = plan[child]["side"] == SIDE_BID
    plan[child]["order_id"] = market.state[S_ORDER]
    record = market.state[S_WRITTEN]
    asked = np.int64(plan[child]["asked"])
    plan[child]["filled"] = trade(market, slot, is_buy, asked, bits, True)
    plan[child]["price_1e9"] = market.out[record * WORDS + 3]
    if plan[child]["filled"] == 0 and market.state[S_TRIES] < TRIES_MAX:
        # Nobody stands on that side: makers come, and the child tries again.
        market.state[S_TRIES] += 1
        send_quotes(market, bits, slot)
        return
    if plan[child]["filled"] == 0:
        plan[child]["price_1e9"] = 0
    market.state[S_TRIES] = 0
    market.state[S_CHILD] += 1


@kernel
def fill_books(market: Market) -> None:
    """Give every instrument its resting orders, as of before the file starts."""
    near = market.rule[R_NEAR]
    state = market.state
    for slot in range(market.instrument.shape[0]):
        fair = fair_rung(market, slot, state[S_FUTURE])
        lowest = market.instrument[slot]["rung_min"]
        few = market.instrument[slot]["deep_top"] - market.rule[R_DEEP_RUNGS] < lowest
        for place in range(market.instrument[slot]["deep_count"]):
            bits = next_bits(market.seed)
            place_deep(market, slot, place, few or bits & 1 == 1, bits >> 1)
        for place in range(2 * near):
            bits = next_bits(market.seed)
            if bits & 3 == 0:
                continue
            away = market.instrument[slot]["half"] + ((place % near) >> 1)
            rung = fair + 1 + away if place >= near else fair - away
            if rung < lowest or (place >= near and rung == lowest):
                continue
            index = slot * 2 * near + place
            market.near[index]["order_id"] = state[S_ORDER]
            market.near[index]["priority"] = state[S_PRIORITY]
            market.near_rung[index] = rung
            row = TABLE_FUTURE_SIZE if slot == 0 else TABLE_QUOTE_SIZE
            market.near[index]["size"] = market.tables[row, (bits >> 2) & (TABLE_LENGTH - 1)]
            state[S_ORDER] += 1
            state[S_PRIORITY] += 1


@kernel
def snapshot(market: Market) -> Integer:
    """Write every resting order in queue order, after an R: DONE or NEED_ROWS between books."""
    state = market.state
    near = market.rule[R_NEAR]
    capacity = market.out.shape[0] // WORDS
    while state[S_CURSOR] < market.instrument.shape[0]:
        slot = state[S_CURSOR]
        start = np.int64(market.instrument[slot]["deep_start"])
        count = np.int64(market.instrument[slot]["deep_count"])
        if state[S_WRITTEN] + count + 2 * near + 1 > capacity:
            return NEED_ROWS
        state[S_SEQUENCE] = 0
        emit(market, slot, ACTION_CLEAR, SIDE_NONE, 0, UNDEF_PRICE, 0, SNAPSHOT)
        kind = np.int64(market.instrument[slot]["kind"])
        hole = np.int64(market.instrument[slot]["deep_hole"])
        for place in range(count):
            if place == hole:
                continue
            order = market.deep[start + place]
            state[S_SEQUENCE] = order["priority"] & 0xFFFF
            side = SIDE_ASK if order["rung"] > market.instrument[slot]["deep_top"] else SIDE_BID
            price = price_of(kind, np.int64(order["rung"]))
            size = np.int64(order["size"])
            emit(market, slot, ACTION_ADD, side, order["order_id"], price, size, SNAPSHOT)
        for place in range(2 * near):
            index = slot * 2 * near + place
            order = market.near[index]
            size = np.int64(order["size"])
            if size == 0:
                continue
            state[S_SEQUENCE] = order["priority"] & 0xFFFF
            side = SIDE_ASK if place >= near else SIDE_BID
            price = price_of(kind, np.int64(market.near_rung[index]))
            emit(market, slot, ACTION_ADD, side, order["order_id"], price, size, SNAPSHOT)
        last = (state[S_WRITTEN] - 1) * WORDS + 4
        market.out[last] |= F_LAST << 32
        state[S_CURSOR] += 1
    return DONE
