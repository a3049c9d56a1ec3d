"""Makers of the simulated market: what an option is worth, and the orders that follow it."""

from __future__ import annotations

from typing import Final

import numpy as np

from ifd_kernels._jit import leaf
from ifd_kernels.layout import (
    ACTION_ADD,
    ACTION_CANCEL,
    ACTION_MODIFY,
    F_LAST,
    KIND_FUTURE,
    KIND_PUT,
    KIND_SPREAD,
    MBO_BYTES,
    RTYPE_MBO,
    SIDE_ASK,
    SIDE_BID,
)
from ifd_kernels.market_state import (
    FINE_RUNGS,
    NICKEL_1E9,
    NO_ASK,
    NO_BID,
    R_CANCEL,
    R_DEEP,
    R_DEEP_RUNGS,
    R_ICEBERG,
    R_NEAR,
    S_FUTURE,
    S_ORDER,
    S_PRIORITY,
    S_RECORDS,
    S_SENDING,
    S_SEQUENCE,
    S_TS_EVENT,
    S_TS_RECV,
    S_WRITTEN,
    TABLE_FUTURE_SIZE,
    TABLE_LENGTH,
    TABLE_QUOTE_SIZE,
    TABLE_VALUE,
    VALUE_ZERO,
    WORDS,
    Integer,
    Market,
)
from ifd_kernels.randomness import next_bits

__all__ = [
    "add",
    "best_ask",
    "best_bid",
    "change",
    "deep_rung",
    "emit",
    "fair_rung",
    "find_rung",
    "place_deep",
    "price_of",
    "quote",
    "quote_any",
    "quote_deep",
    "value_nickels",
]

HEADER: Final = MBO_BYTES // 4 | RTYPE_MBO << 8 | 1 << 16  # publisher 1: GLBX.MDP3
LAST: Final = F_LAST | 2  # the venue's usual end of an event


@leaf
def emit(
    market: Market,
    slot: Integer,
    action: Integer,
    side: Integer,
    order_id: Integer,
    price: Integer,
    size: Integer,
    flags: Integer,
) -> None:
    """Append one MBO record to `out`, at the clock of the current packet."""
    state = market.state
    base = state[S_WRITTEN] * WORDS
    out = market.out
    out[base] = HEADER | market.instrument[slot]["instrument_id"] << 32
    out[base + 1] = state[S_TS_EVENT]
    out[base + 2] = order_id
    out[base + 3] = price
    out[base + 4] = size | flags << 32 | action << 48 | side << 56
    out[base + 5] = state[S_TS_RECV]
    out[base + 6] = state[S_SENDING] | state[S_SEQUENCE] << 32
    state[S_WRITTEN] += 1
    state[S_RECORDS] += 1


@leaf
def price_of(kind: Integer, rung: Integer) -> Integer:
    """Return the price of `rung` at 1e-9."""
    if kind == KIND_FUTURE:
        return rung * 5 * NICKEL_1E9
    if kind == KIND_SPREAD or rung <= FINE_RUNGS:
        return rung * NICKEL_1E9
    return (FINE_RUNGS + (rung - FINE_RUNGS) * 5) * NICKEL_1E9


@leaf
def value_nickels(market: Market, slot: Integer, future_rung: Integer) -> Integer:
    """Return what an outright option is worth: intrinsic and time value, from one table.

    A put is its call less the moneyness: there is no interest, so parity is exact.
    """
    strike = market.instrument[slot]["strike_nickels"]
    money = future_rung * 5 - strike
    place = money * market.instrument[slot]["scale"] + (VALUE_ZERO << 20)
    index = place >> 20
    if index < 0:
        call = np.int64(0)
    elif index >= TABLE_LENGTH - 1:
        call = money
    else:
        low = market.tables[TABLE_VALUE, index]
        step = market.tables[TABLE_VALUE, index + 1] - low
        share = low + (step * ((place >> 4) & 0xFFFF) >> 16)
        # Rounded down, but never below what exercise would give.
        call = max(market.instrument[slot]["spread_nickels"] * share >> 24, money)
    if market.instrument[slot]["kind"] == KIND_PUT:
        return call - money
    return call


@leaf
def fair_rung(market: Market, slot: Integer, future_rung: Integer) -> Integer:
    """Return the rung of the fair price of any instrument."""
    kind = market.instrument[slot]["kind"]
    if kind == KIND_FUTURE:
        return future_rung
    if kind == KIND_SPREAD:
        value = value_nickels(market, np.int64(market.instrument[slot]["leg_a"]), future_rung)
        other = value_nickels(market, np.int64(market.instrument[slot]["leg_b"]), future_rung)
        return value + market.instrument[slot]["sign_b"] * other
    value = value_nickels(market, slot, future_rung)
    if value <= FINE_RUNGS:
        return value
    return FINE_RUNGS + (value - FINE_RUNGS) // 5


@leaf
def best_bid(market: Market, base: Integer) -> Integer:
    """Return the highest rung of the `near` bids from `base`, NO_BID if there is none."""
    best = np.int32(NO_BID)
    for index in range(base, base + market.rule[R_NEAR]):
        best = max(best, market.near_rung[index])
    return np.int64(best)


@leaf
def best_ask(market: Market, base: Integer) -> Integer:
    """Return the lowest rung of the `near` asks from `base`, NO_ASK if there is none."""
    best = np.int32(NO_ASK)
    for index in range(base, base + market.rule[R_NEAR]):
        best = min(best, market.near_rung[index])
    return np.int64(best)


@leaf
def find_rung(market: Market, base: Integer, rung: Integer) -> Integer:
    """Return the index of the first of the `near` orders from `base` that lies at `rung`."""
    index = np.int64(base)
    while market.near_rung[index] != rung:
        index += 1
    return index


@leaf
def quote(market: Market, slot: Integer, bits: Integer) -> None:
    """Let one maker of `slot` add, move or cancel one order near the fair price.

    An order that the fair price has passed goes first. A quote that would cross stops one rung
    before the other side: the book is never locked at the end of a packet.
    """
    near = market.rule[R_NEAR]
    base = slot * 2 * near
    fair = fair_rung(market, slot, market.state[S_FUTURE])
    half = np.int64(market.instrument[slot]["half"])
    lowest = np.int64(market.instrument[slot]["rung_min"])
    bid = best_bid(market, base)
    ask = best_ask(market, base + near)
    is_ask = (bits & 1) == 1
    if bid == NO_BID and fair - half < lowest:
        is_ask = True  # too cheap to bid for
    place = ((bits >> 1) & 0xFF) * near >> 8
    # Four of the future's makers share a rung, two of an option's.
    away = place >> (2 if market.instrument[slot]["kind"] == KIND_FUTURE else 1)
    away += (bits >> 9) & 1
    if is_ask:
        index = base + near + place
        rung = fair + half + away
        if market.instrument[slot]["kind"] == KIND_FUTURE:
            rung += 1
        if ask < fair + half:
            index = find_rung(market, base + near, ask)
        rung = max(rung, bid + 1, lowest + 1)
    else:
        index = base + place
        rung = fair - half - away
        if bid > fair - half:
            index = find_rung(market, base, bid)
        rung = min(rung, ask - 1)
    change(market, slot, index, rung, is_ask, bits >> 10)


@leaf
def change(
    market: Market, slot: Integer, index: Integer, rung: Integer, is_ask: bool, bits: Integer
) -> None:
    """Bring the order at `index` to `rung`: add it, move it, shrink it, or cancel it."""
    kind = np.int64(market.instrument[slot]["kind"])
    side = SIDE_ASK if is_ask else SIDE_BID
    size = np.int64(market.near[index]["size"])
    order_id = market.near[index]["order_id"]
    held = np.int64(market.near_rung[index])
    if size == 0:
        if rung >= market.instrument[slot]["rung_min"]:
            add(market, slot, index, rung, side)
        return
    if rung < market.instrument[slot]["rung_min"] or (bits & 0xFFFF) < market.rule[R_CANCEL]:
        market.near[index]["size"] = 0
        market.near_rung[index] = NO_ASK if is_ask else NO_BID
        price = price_of(kind, held)
        emit(market, slot, ACTION_CANCEL, side, order_id, price, size, LAST)
        return
    if rung == held:
        if size > 1 and (bits >> 16) & 3 == 0:
            size -= 1
            market.near[index]["size"] = size
            emit(market, slot, ACTION_MODIFY, side, order_id, price_of(kind, held), size, LAST)
            return
        rung = rung + 1 if is_ask or rung <= market.instrument[slot]["rung_min"] + 1 else rung - 1
        if not is_ask and rung > held:
            return
    market.near_rung[index] = rung
    market.near[index]["priority"] = market.state[S_PRIORITY]
    market.state[S_PRIORITY] += 1
    emit(market, slot, ACTION_MODIFY, side, order_id, price_of(kind, rung), size, LAST)


@leaf
def add(market: Market, slot: Integer, index: Integer, rung: Integer, side: Integer) -> None:
    """Put a new order at `index` of `near`."""
    state = market.state
    bits = next_bits(market.seed)
    row = TABLE_QUOTE_SIZE
    if market.instrument[slot]["kind"] == KIND_FUTURE:
        row = TABLE_FUTURE_SIZE
    size = market.tables[row, bits & (TABLE_LENGTH - 1)]
    market.near[index]["order_id"] = state[S_ORDER]
    market.near[index]["priority"] = state[S_PRIORITY]
    market.near_rung[index] = rung
    market.near[index]["size"] = size
    market.near[index]["taken"] = 0
    iceberg = (bits >> 12) & 0xFFFF < market.rule[R_ICEBERG]
    market.near[index]["hidden"] = size * 4 if iceberg else 0
    price = price_of(np.int64(market.instrument[slot]["kind"]), rung)
    emit(market, slot, ACTION_ADD, side, state[S_ORDER], price, size, LAST)
    state[S_ORDER] += 1
    state[S_PRIORITY] += 1


@leaf
def deep_rung(market: Market, slot: Integer, is_ask: bool, bits: Integer) -> Integer:
    """Return a rung far from the market, more often one of the nearer ones."""
    skew = bits & 0xFFFF
    steps = (skew * skew >> 16) * market.rule[R_DEEP_RUNGS] >> 16
    if is_ask:
        return market.instrument[slot]["deep_base"] + steps
    return market.instrument[slot]["deep_top"] - steps


@leaf
def quote_deep(market: Market, slot: Integer) -> None:
    """Cancel, replace or move one order far from the market, mostly a recent one."""
    bits = next_bits(market.seed)
    instrument = market.instrument
    start = np.int64(instrument[slot]["deep_start"])
    count = np.int64(instrument[slot]["deep_count"])
    hole = np.int64(instrument[slot]["deep_hole"])
    kind = np.int64(instrument[slot]["kind"])
    if hole >= 0:
        lowest = instrument[slot]["deep_top"] - market.rule[R_DEEP_RUNGS]
        is_ask = (bits & 1) == 1 or lowest < instrument[slot]["rung_min"]
        place_deep(market, slot, hole, is_ask, bits >> 1)
        instrument[slot]["deep_hole"] = -1
        order = market.deep[start + hole]
        side = SIDE_ASK if is_ask else SIDE_BID
        price = price_of(kind, np.int64(order["rung"]))
        size = np.int64(order["size"])
        emit(market, slot, ACTION_ADD, side, order["order_id"], price, size, LAST)
        return
    place = (bits >> 16 & 0xFFFFFF) * count >> 24
    if bits & 7 != 0:
        place = (instrument[slot]["deep_recent"] + ((bits >> 16) & 15)) % count
    held = np.int64(market.deep[start + place]["rung"])
    is_ask = held > instrument[slot]["deep_top"]
    side = SIDE_ASK if is_ask else SIDE_BID
    order_id = market.deep[start + place]["order_id"]
    size = np.int64(market.deep[start + place]["size"])
    if (bits >> 3) & 3 == 0:
        rung = deep_rung(market, slot, is_ask, bits >> 40)
        market.deep[start + place]["rung"] = rung
        emit(market, slot, ACTION_MODIFY, side, order_id, price_of(kind, rung), size, LAST)
        return
    instrument[slot]["deep_hole"] = place
    instrument[slot]["deep_recent"] = place
    emit(market, slot, ACTION_CANCEL, side, order_id, price_of(kind, held), size, LAST)


@leaf
def place_deep(market: Market, slot: Integer, place: Integer, is_ask: bool, bits: Integer) -> None:
    """Fill the `place`-th deep order of `slot` without telling anybody."""
    index = market.instrument[slot]["deep_start"] + place
    size = market.tables[TABLE_QUOTE_SIZE, (bits >> 16) & (TABLE_LENGTH - 1)]
    market.deep[index]["order_id"] = market.state[S_ORDER]
    market.deep[index]["priority"] = market.state[S_PRIORITY]
    market.deep[index]["rung"] = deep_rung(market, slot, is_ask, bits)
    market.deep[index]["size"] = size
    market.state[S_ORDER] += 1
    market.state[S_PRIORITY] += 1


@leaf
def quote_any(market: Market, slot: Integer) -> None:
    """Change one order of `slot`, near the market or far from it."""
    bits = next_bits(market.seed)
    deep = (bits & 0xFFFF) < market.rule[R_DEEP]
    if deep and market.instrument[slot]["deep_count"] > 0:
        quote_deep(market, slot)
    else:
        quote(market, slot, bits >> 16)
