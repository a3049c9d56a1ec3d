"""Aggression in the simulated market: fills in queue order, and all that real tapes add to it."""

from __future__ import annotations

from typing import Final

import numpy as np

from ifd_kernels._jit import kernel, leaf
from ifd_kernels.layout import (
    ACTION_CANCEL,
    ACTION_FILL,
    ACTION_MODIFY,
    ACTION_TRADE,
    KIND_SPREAD,
    SIDE_ASK,
    SIDE_BID,
    SIDE_NONE,
)
from ifd_kernels.market_quotes import LAST, emit, fair_rung, price_of
from ifd_kernels.market_state import (
    FILLS_MAX,
    NICKEL_1E9,
    NO_ASK,
    NO_BID,
    R_GHOST,
    R_IMPLIED,
    R_LOST_FILL,
    R_NEAR,
    R_OFF_PRICE,
    R_SELF_MATCH,
    R_SIDELESS_LEG,
    S_FUTURE,
    S_ORDER,
    S_PRIORITY,
    S_SENDING,
    S_SEQUENCE,
    S_TS_RECV,
    TABLE_LENGTH,
    TABLE_LOTS,
    Integer,
    Market,
)
from ifd_kernels.randomness import next_bits

__all__ = ["best_order", "fill", "plan_fills", "print_legs", "settle", "tell", "trade"]

PLAN_ORDER: Final = 0  # index in `near`
PLAN_LOTS: Final = 1  # contracts filled; 0: cancelled so as not to trade with its own side
PLAN_RUNG: Final = 2


@leaf
def best_order(market: Market, base: Integer, sign: Integer) -> Integer:
    """Return the index of the first in queue among the `near` orders from `base`, -1: none.

    `sign` is 1 for bids and -1 for asks. Orders of the plan at hand are passed over.
    """
    found = np.int64(-1)
    best = np.int64(0)
    for index in range(base, base + market.rule[R_NEAR]):
        if market.near[index]["size"] == 0 or market.near[index]["taken"] != 0:
            continue
        rank = sign * np.int64(market.near_rung[index])
        if found < 0 or rank > best:
            found = np.int64(index)
            best = rank
        elif rank == best and market.near[index]["priority"] < market.near[found]["priority"]:
            found = np.int64(index)
    return found


@kernel
def plan_fills(
    market: Market, slot: Integer, is_buy: bool, asked: Integer, bits: Integer, forced: bool
) -> Integer:
    """Choose the resting orders an aggressor meets, best price and first in queue; return how many.

    With `forced` the last of them is an iceberg that takes all that is left.
    """
    near = market.rule[R_NEAR]
    base = slot * 2 * near + (near if is_buy else np.int64(0))
    sign = -1 if is_buy else 1
    left = asked
    count = np.int64(0)
    shy = (bits & 0xFFFF) < market.rule[R_SELF_MATCH]
    while left > 0 and count < FILLS_MAX:
        index = best_order(market, base, sign)
        if index < 0:
            break
        market.near[index]["taken"] = 1
        lots = min(left, np.int64(market.near[index]["size"] + market.near[index]["hidden"]))
        if shy:
            shy = False
            lots = np.int64(0)
        market.fills[count, PLAN_ORDER] = index
        market.fills[count, PLAN_LOTS] = lots
        market.fills[count, PLAN_RUNG] = market.near_rung[index]
        left -= lots
        count += 1
    if forced and left > 0 and count > 0:
        last = market.fills[count - 1, PLAN_ORDER]
        market.near[last]["hidden"] += left
        market.fills[count - 1, PLAN_LOTS] += left
    return count


@kernel
def tell(market: Market, slot: Integer, is_buy: bool, count: Integer, implied: bool) -> Integer:
    """Publish one T for each price and an F for each order of the plan; return the contracts."""
    kind = np.int64(market.instrument[slot]["kind"])
    aggressor = SIDE_BID if is_buy else SIDE_ASK
    passive = SIDE_ASK if is_buy else SIDE_BID
    order_id = market.state[S_ORDER]
    market.state[S_ORDER] += 1
    total = np.int64(0)
    first = np.int64(0)
    while first < count:
        rung = market.fills[first, PLAN_RUNG]
        lots = np.int64(0)
        end = first
        while end < count and market.fills[end, PLAN_RUNG] == rung:
            lots += market.fills[end, PLAN_LOTS]
            end += 1
        price = price_of(kind, rung)
        if lots > 0 and implied:
            emit(market, slot, ACTION_TRADE, SIDE_NONE, 0, price, lots, 0)
        elif lots > 0:
            emit(market, slot, ACTION_TRADE, aggressor, order_id, price, lots, 0)
        for item in range(first, end):
            if market.fills[item, PLAN_LOTS] > 0:
                fill(market, slot, passive, item, price)
        total += lots
        first = end
    return total


@kernel
def fill(market: Market, slot: Integer, side: Integer, item: Integer, price: Integer) -> None:
    """Publish the F of one order of the plan, now and then wrong as on a real tape."""
    order = market.fills[item, PLAN_ORDER]
    lots = market.fills[item, PLAN_LOTS]
    order_id = market.near[order]["order_id"]
    chance = next_bits(market.seed) & 0xFFFF
    if chance < market.rule[R_LOST_FILL]:
        return
    chance -= market.rule[R_LOST_FILL]
    if 0 <= chance < market.rule[R_GHOST]:
        order_id = market.state[S_ORDER]  # the hidden part trades under an id of its own
        market.state[S_ORDER] += 1
    chance -= market.rule[R_GHOST]
    if 0 <= chance < market.rule[R_OFF_PRICE]:
        kind = np.int64(market.instrument[slot]["kind"])
        better = -1 if side == SIDE_ASK else 1
        price = price_of(kind, market.fills[item, PLAN_RUNG] - better)
    emit(market, slot, ACTION_FILL, side, order_id, price, lots, 0)


@kernel
def settle(market: Market, slot: Integer, is_buy: bool, count: Integer, last: bool) -> None:
    """Publish what the plan did to each of its orders, and do it: C, M, or a refreshed iceberg."""
    kind = np.int64(market.instrument[slot]["kind"])
    side = SIDE_ASK if is_buy else SIDE_BID
    for item in range(count):
        index = market.fills[item, PLAN_ORDER]
        lots = market.fills[item, PLAN_LOTS]
        size = np.int64(market.near[index]["size"])
        hidden = np.int64(market.near[index]["hidden"])
        order_id = market.near[index]["order_id"]
        price = price_of(kind, market.fills[item, PLAN_RUNG])
        market.near[index]["taken"] = 0
        flags = LAST if last and item == count - 1 else 0
        left = size - lots
        if left <= 0 and lots > 0:
            hidden += left
            left = min(hidden, size)
            hidden -= left
            market.near[index]["priority"] = market.state[S_PRIORITY]
            market.state[S_PRIORITY] += 1
        if lots == 0 or left <= 0:
            market.near[index]["size"] = 0
            market.near_rung[index] = NO_ASK if is_buy else NO_BID
            emit(market, slot, ACTION_CANCEL, side, order_id, price, size, flags)
            continue
        market.near[index]["size"] = left
        market.near[index]["hidden"] = hidden
        emit(market, slot, ACTION_MODIFY, side, order_id, price, left, flags)


@kernel
def trade(
    market: Market, slot: Integer, is_buy: bool, asked: Integer, bits: Integer, forced: bool
) -> Integer:
    """Let an aggressor take up to `asked` contracts; return what it received.

    T and F come in one packet, the changes of the book in the next, some 11 us later, of the
    same ts_event: the order of a real tape.
    """
    if asked == 0:
        row = TABLE_LOTS + np.int64(market.instrument[slot]["lots"])
        asked = market.tables[row, bits & (TABLE_LENGTH - 1)]
    bits >>= 12
    rare = next_bits(market.seed)
    count = plan_fills(market, slot, is_buy, asked, rare, forced)
    if count == 0:
        return 0
    implied = not forced and (bits & 0xFFFF) < market.rule[R_IMPLIED]
    total = tell(market, slot, is_buy, count, implied)
    if total > 0 and market.instrument[slot]["kind"] == KIND_SPREAD:
        print_legs(market, slot, is_buy, total)
    market.state[S_SEQUENCE] += 1
    market.state[S_TS_RECV] += 7_500 + (rare >> 16 & 4095)
    market.state[S_SENDING] = 12_900 + (rare >> 28 & 1023)
    settle(market, slot, is_buy, count, True)
    return total


@kernel
def print_legs(market: Market, slot: Integer, is_buy: bool, lots: Integer) -> None:
    """Publish the trades of a spread's legs: prints without fills, often without aggressor."""
    bits = next_bits(market.seed)
    for leg in range(2):
        if leg == 0:
            target = np.int64(market.instrument[slot]["leg_a"])
            buys = is_buy
        else:
            target = np.int64(market.instrument[slot]["leg_b"])
            buys = is_buy == (market.instrument[slot]["sign_b"] > 0)
        rung = fair_rung(market, target, market.state[S_FUTURE])
        kind = np.int64(market.instrument[target]["kind"])
        price = max(price_of(kind, rung), np.int64(NICKEL_1E9))
        side = SIDE_BID if buys else SIDE_ASK
        if (bits >> (16 * leg)) & 0xFFFF < market.rule[R_SIDELESS_LEG]:
            side = SIDE_NONE
        emit(market, target, ACTION_TRADE, side, 0, price, lots, LAST)
