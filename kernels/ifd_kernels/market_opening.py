"""The opening of the simulated market: crossed books before it, an auction on the stroke of it."""

from __future__ import annotations

from typing import Final

import numpy as np

from ifd_kernels._jit import kernel
from ifd_kernels.layout import (
    ACTION_ADD,
    ACTION_CANCEL,
    ACTION_FILL,
    ACTION_TRADE,
    DONE,
    NEED_ROWS,
    SECOND_NS,
    SIDE_ASK,
    SIDE_BID,
    SIDE_NONE,
)
from ifd_kernels.market_quotes import LAST, emit, fair_rung, price_of
from ifd_kernels.market_state import (
    HEADROOM_RECORDS,
    NO_ASK,
    NO_BID,
    R_NEAR,
    R_OPEN_NS,
    S_CURSOR,
    S_FUTURE,
    S_ORDER,
    S_PRIORITY,
    S_SEQUENCE,
    S_TS_EVENT,
    S_TS_RECV,
    S_WRITTEN,
    TABLE_FUTURE_SIZE,
    TABLE_LENGTH,
    TABLE_QUOTE_SIZE,
    WORDS,
    Integer,
    Market,
)
from ifd_kernels.market_stream import start_packet
from ifd_kernels.randomness import next_bits

__all__ = ["cross_books", "open_market"]

PREOPEN_NS: Final = 890 * SECOND_NS
AUCTION_LATE_NS: Final = 105_900_877  # ESH4, 2023-12-25


@kernel
def cross_books(market: Market) -> Integer:
    """Write the minutes before the open: pairs of orders that cross, DONE or NEED_ROWS.

    A pair has one size, so that the auction leaves nothing that crosses the makers' quotes.
    """
    state = market.state
    count = market.instrument.shape[0]
    capacity = market.out.shape[0] // WORDS - HEADROOM_RECORDS
    first_ns = market.rule[R_OPEN_NS] - PREOPEN_NS
    while state[S_CURSOR] < count:
        if state[S_WRITTEN] > capacity:
            return NEED_ROWS
        slot = state[S_CURSOR]
        for pair in range(np.int64(market.instrument[slot]["crossing"])):
            bits = next_bits(market.seed)
            ts_event_ns = first_ns + (PREOPEN_NS - SECOND_NS) // count * slot + pair * 1_000_000
            start_packet(market, ts_event_ns, bits)
            row = TABLE_FUTURE_SIZE if slot == 0 else TABLE_QUOTE_SIZE
            size = market.tables[row, (bits >> 30) & (TABLE_LENGTH - 1)]
            join(market, slot, pair, False, size, (bits >> 50) & 3)
            start_packet(market, ts_event_ns + 400_000, next_bits(market.seed))
            join(market, slot, pair, True, size, (bits >> 52) & 3)
        state[S_CURSOR] += 1
    return DONE


@kernel
def join(
    market: Market, slot: Integer, pair: Integer, is_ask: bool, size: Integer, extra: Integer
) -> None:
    """Put one order of a pair on the far side of the fair price; the maker's there goes first."""
    near = market.rule[R_NEAR]
    state = market.state
    fair = fair_rung(market, slot, state[S_FUTURE])
    index = slot * 2 * near + pair + (near if is_ask else np.int64(0))
    kind = np.int64(market.instrument[slot]["kind"])
    side = SIDE_ASK if is_ask else SIDE_BID
    held = np.int64(market.near[index]["size"])
    if held > 0:
        price = price_of(kind, np.int64(market.near_rung[index]))
        emit(market, slot, ACTION_CANCEL, side, market.near[index]["order_id"], price, held, LAST)
    rung = fair - extra if is_ask else fair + extra
    market.near[index]["order_id"] = state[S_ORDER]
    market.near[index]["priority"] = state[S_PRIORITY]
    market.near[index]["size"] = size
    market.near[index]["hidden"] = 0
    market.near_rung[index] = rung
    emit(market, slot, ACTION_ADD, side, state[S_ORDER], price_of(kind, rung), size, LAST)
    state[S_ORDER] += 1
    state[S_PRIORITY] += 1


@kernel
def open_market(market: Market) -> Integer:
    """Write the auction of every crossed book: DONE, or NEED_ROWS between two instruments.

    One T without side or order id, an F without side for each order, then their cancels; all of
    the opening's ts_event, and late as measured.
    """
    state = market.state
    near = market.rule[R_NEAR]
    capacity = market.out.shape[0] // WORDS - HEADROOM_RECORDS
    while state[S_CURSOR] < market.instrument.shape[0]:
        if state[S_WRITTEN] > capacity:
            return NEED_ROWS
        slot = state[S_CURSOR]
        state[S_CURSOR] += 1
        pairs = np.int64(market.instrument[slot]["crossing"])
        if pairs == 0:
            continue
        late = market.rule[R_OPEN_NS] + AUCTION_LATE_NS
        state[S_TS_EVENT] = market.rule[R_OPEN_NS]
        state[S_TS_RECV] = max(state[S_TS_RECV] + 1_000, late)
        state[S_SEQUENCE] += 3
        base = slot * 2 * near
        kind = np.int64(market.instrument[slot]["kind"])
        price = price_of(kind, fair_rung(market, slot, state[S_FUTURE]))
        lots = np.int64(0)
        for pair in range(pairs):
            lots += market.near[base + pair]["size"]
        emit(market, slot, ACTION_TRADE, SIDE_NONE, 0, price, lots, 0)
        for item in range(2 * pairs):
            index = base + (item >> 1) + (near if item & 1 else np.int64(0))
            size = np.int64(market.near[index]["size"])
            order_id = market.near[index]["order_id"]
            emit(market, slot, ACTION_FILL, SIDE_NONE, order_id, price, size, 0)
        state[S_SEQUENCE] += 1
        state[S_TS_RECV] += 945_334
        for item in range(2 * pairs):
            index = base + (item >> 1) + (near if item & 1 else np.int64(0))
            leave(market, slot, index, item & 1 == 1, LAST if item == 2 * pairs - 1 else 0)
    return DONE


@kernel
def leave(market: Market, slot: Integer, index: Integer, is_ask: bool, flags: Integer) -> None:
    """Cancel an order that the auction has filled."""
    kind = np.int64(market.instrument[slot]["kind"])
    price = price_of(kind, np.int64(market.near_rung[index]))
    size = np.int64(market.near[index]["size"])
    side = SIDE_ASK if is_ask else SIDE_BID
    order_id = market.near[index]["order_id"]
    emit(market, slot, ACTION_CANCEL, side, order_id, price, size, flags)
    market.near[index]["size"] = 0
    market.near_rung[index] = NO_ASK if is_ask else NO_BID
