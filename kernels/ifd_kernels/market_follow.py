"""The simulated market's clock where trades are planned ahead: quotes at its own pace between."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel, leaf
from ifd_kernels.layout import (
    ACTION_CANCEL,
    ACTION_CLEAR,
    DONE,
    NEED_ROWS,
    SIDE_ASK,
    SIDE_BID,
    SIDE_NONE,
    UNDEF_PRICE,
)
from ifd_kernels.market_quotes import LAST, emit, fair_rung, price_of
from ifd_kernels.market_state import (
    HEADROOM_RECORDS,
    MODE_ICEBERG,
    MODE_ORDINARY,
    NO_ASK,
    NO_BID,
    R_ANSWER,
    R_CLOSE_NS,
    R_FUTURE_HIGH,
    R_FUTURE_LOW,
    R_NEAR,
    R_RECORDS,
    S_CHILD,
    S_CURSOR,
    S_NEXT,
    S_ORDER,
    S_RECORDS,
    S_SEQUENCE,
    S_TS_EVENT,
    S_TS_RECV,
    S_WRITTEN,
    WORDS,
    Integer,
    Market,
)
from ifd_kernels.market_stream import (
    move_future,
    next_time,
    send_quotes,
    start_packet,
    trade_child,
)
from ifd_kernels.market_trades import best_order, trade
from ifd_kernels.randomness import next_bits

__all__ = ["clear_books", "follow", "reach_rungs", "retire"]

BLOCK_LOTS: Final = 20  # more than stands at the touch: blocks meet an iceberg
CALLS_MAX: Final = 4  # how often makers are called for before an ordinary order gives up


@kernel
def take_child(market: Market, child: Integer, bits: Integer) -> None:
    """Trade the next of the plan as its mode says, and note what became of it."""
    plan = market.plan
    mode = plan[child]["mode"]
    if mode == MODE_ORDINARY:
        take_ordinary(market, child, bits)
        return
    if mode == MODE_ICEBERG:
        hide(market, child)
    trade_child(market, child, bits)


@leaf
def hide(market: Market, child: Integer) -> None:
    """Give the first order that the child of the plan meets as many hidden contracts as it asks."""
    near = market.rule[R_NEAR]
    is_buy = market.plan[child]["side"] == SIDE_BID
    base = np.int64(market.plan[child]["slot"]) * 2 * near + (near if is_buy else np.int64(0))
    index = best_order(market, base, -1 if is_buy else 1)
    if index >= 0:
        market.near[index]["hidden"] += market.plan[child]["asked"]


@kernel
def take_ordinary(market: Market, child: Integer, bits: Integer) -> None:
    """Trade an ordinary order of the plan with whoever is there; where nobody is, makers come."""
    state, plan = market.state, market.plan
    slot = np.int64(plan[child]["slot"])
    is_buy = plan[child]["side"] == SIDE_BID
    asked = np.int64(plan[child]["asked"])
    plan[child]["filled"] = 0
    for _ in range(CALLS_MAX):
        record = state[S_WRITTEN]
        plan[child]["order_id"] = state[S_ORDER]
        if asked >= BLOCK_LOTS:
            hide(market, child)
        plan[child]["filled"] = trade(market, slot, is_buy, asked, bits, False)
        if plan[child]["filled"] > 0:
            plan[child]["price_1e9"] = market.out[record * WORDS + 3]
            break
        send_quotes(market, bits >> 16, slot)
    state[S_CHILD] += 1
    if (bits >> 46) & 0xFFFF < market.rule[R_ANSWER]:
        state[S_SEQUENCE] += 1
        state[S_TS_RECV] += 20_000 + (bits & 0x3FFF)
        send_quotes(market, bits >> 16, slot)


@kernel
def follow(market: Market) -> Integer:
    """Write trading to `out`: DONE at the close or the last record, else NEED_ROWS.

    Each trade of the plan comes at its time; quotes come at the pace of the day, and the future
    moves with them. Stopped anywhere, by a full `out` or by a close that is later put off, the
    stream goes on where it was.
    """
    state = market.state
    plan = market.plan
    capacity = market.out.shape[0] // WORDS - HEADROOM_RECORDS
    if state[S_NEXT] == 0:
        state[S_NEXT] = next_time(market, next_bits(market.seed))
    while state[S_RECORDS] < market.rule[R_RECORDS]:
        if state[S_WRITTEN] > capacity:
            return NEED_ROWS
        child = state[S_CHILD]
        planned = child < plan.shape[0] and plan[child]["ts_event_ns"] <= state[S_NEXT]
        ts_event_ns = np.int64(state[S_NEXT])
        if planned:
            ts_event_ns = max(np.int64(plan[child]["ts_event_ns"]), state[S_TS_EVENT])
        if ts_event_ns >= market.rule[R_CLOSE_NS]:
            return DONE
        bits = next_bits(market.seed)
        more = next_bits(market.seed)
        start_packet(market, ts_event_ns, bits)
        if planned:
            take_child(market, child, more)
        else:
            move_future(market, bits >> 44)
            send_quotes(market, more >> 16, np.int64(-1))
            state[S_NEXT] = next_time(market, next_bits(market.seed))
    return DONE


@kernel
def clear_books(market: Market) -> Integer:
    """Write an R that is no snapshot for every instrument, as after a gap: DONE or NEED_ROWS."""
    state = market.state
    capacity = market.out.shape[0] // WORDS
    while state[S_CURSOR] < market.instrument.shape[0]:
        if state[S_WRITTEN] >= capacity:
            return NEED_ROWS
        emit(market, state[S_CURSOR], ACTION_CLEAR, SIDE_NONE, 0, UNDEF_PRICE, 0, LAST)
        state[S_CURSOR] += 1
    return DONE


@kernel
def reach_rungs(market: Market, steps: Integer, reach: NDArray[np.int64]) -> None:
    """Widen `reach` (i, 2), lowest and highest fair rung, by `steps` + 1 places of the future."""
    low = market.rule[R_FUTURE_LOW]
    width = market.rule[R_FUTURE_HIGH] - low
    for slot in range(market.instrument.shape[0]):
        for step in range(steps + 1):
            rung = fair_rung(market, slot, low + width * step // steps)
            reach[slot, 0] = min(reach[slot, 0], rung)
            reach[slot, 1] = max(reach[slot, 1], rung)


@kernel
def retire(market: Market, slots: NDArray[np.int64]) -> Integer:
    """Cancel every order of expired instruments (n,), which get no more: DONE or NEED_ROWS."""
    state = market.state
    near = market.rule[R_NEAR]
    capacity = market.out.shape[0] // WORDS
    while state[S_CURSOR] < slots.shape[0]:
        slot = slots[state[S_CURSOR]]
        start = np.int64(market.instrument[slot]["deep_start"])
        count = np.int64(market.instrument[slot]["deep_count"])
        if state[S_WRITTEN] + count + 2 * near > capacity:
            return NEED_ROWS
        kind = np.int64(market.instrument[slot]["kind"])
        hole = np.int64(market.instrument[slot]["deep_hole"])
        for place in range(count):
            order = market.deep[start + place]
            side = SIDE_ASK if order["rung"] > market.instrument[slot]["deep_top"] else SIDE_BID
            price = price_of(kind, np.int64(order["rung"]))
            if place != hole:
                size = np.int64(order["size"])
                emit(market, slot, ACTION_CANCEL, side, order["order_id"], price, size, LAST)
        for index in range(slot * 2 * near, (slot + 1) * 2 * near):
            side = SIDE_ASK if index >= slot * 2 * near + near else SIDE_BID
            size = np.int64(market.near[index]["size"])
            price = price_of(kind, np.int64(market.near_rung[index]))
            if size > 0:
                order_id = market.near[index]["order_id"]
                emit(market, slot, ACTION_CANCEL, side, order_id, price, size, LAST)
            market.near[index]["size"] = 0
            market.near_rung[index] = NO_ASK if side == SIDE_ASK else NO_BID
        market.instrument[slot]["deep_count"] = 0
        state[S_CURSOR] += 1
    return DONE
