"""What the simulated market is made of: instruments, resting orders, a clock, an output.

All numbers are integers. A price is a *rung* of its instrument's ladder; the ladders are
    future   quarter points
    option   0.05 up to 5.00 (rung 100), 0.25 above
    spread   0.05, negative rungs too
and money inside the kernels is counted in nickels (0.05 points).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHILD", "INSTRUMENT", "ORDER", "Market"]

Records: TypeAlias = NDArray[Any]  # a structured array
Integer: TypeAlias = int | np.signedinteger[Any]  # one type once compiled: int64

NICKEL_1E9: Final = 50_000_000
FINE_RUNGS: Final = 100  # 5.00 points: an option's tick is five nickels above
WORDS: Final = 7  # an MBO record as 64-bit words
HEADROOM_RECORDS: Final = 256  # no packet is longer
FILLS_MAX: Final = 16  # passive orders in one aggression

INSTRUMENT: Final = np.dtype(
    [
        ("instrument_id", "<i8"),
        ("scale", "<i8"),  # table steps a nickel of moneyness, times 2**20
        ("spread_nickels", "<i8"),  # one standard deviation at expiry: the table's unit
        ("strike_nickels", "<i8"),
        ("kind", "<i4"),  # layout.KIND_*
        ("half", "<i4"),  # half the makers' spread in rungs
        ("rung_min", "<i4"),  # lowest legal price
        ("deep_top", "<i4"),  # highest rung of the orders far below the market
        ("deep_base", "<i4"),  # lowest rung of those far above it
        ("deep_start", "<i4"),
        ("deep_count", "<i4"),
        ("deep_hole", "<i4"),  # an empty one among them, -1: none
        ("deep_recent", "<i4"),  # the place of the newest
        ("leg_a", "<i4"),
        ("leg_b", "<i4"),
        ("sign_b", "<i4"),  # value of a spread: leg a + sign_b * leg b
        ("lots", "<i4"),  # which row of the sizes of trades
        ("crossing", "<i4"),  # pairs of orders that cross before the open
    ]
)

ORDER: Final = np.dtype(
    [
        ("order_id", "<i8"),
        ("priority", "<i8"),  # smaller: earlier in the queue
        ("rung", "<i4"),  # of `deep`; those of `near` stand in `near_rung`
        ("size", "<i4"),  # displayed; 0: no order here
        ("hidden", "<i4"),  # of an iceberg
        ("taken", "<i4"),  # 1: in the aggression being planned
    ]
)

# The rung of an order that isn't there: worse than any other of its side.
NO_BID: Final = -(2**31)
NO_ASK: Final = 2**31 - 1

# One trade that is planned ahead: asked for, and what became of it.
CHILD: Final = np.dtype(
    [
        ("ts_event_ns", "<i8"),
        ("order_id", "<i8"),
        ("price_1e9", "<i8"),
        ("slot", "<i4"),
        ("side", "<i4"),  # layout.SIDE_* of the aggressor
        ("asked", "<i4"),
        ("filled", "<i4"),
        ("plant", "<i4"),  # whose; -1: ordinary flow
        ("mode", "<i4"),  # MODE_*
    ]
)
MODE_FORCED: Final = 0  # filled in full: the last order it meets is an iceberg
MODE_ORDINARY: Final = 1  # takes what is there
MODE_ICEBERG: Final = 2  # filled in full by the first order it meets


class Market(NamedTuple):
    """The market as arrays: i instruments, each with 2 * near resting orders at the touch.

    `near` (i * 2 * near,) holds bids then asks of each instrument, and `near_rung` their rungs,
    apart so that both sides of an instrument share a cache line; `deep` (d,) holds the orders far
    from the market, `tables` (TABLES, 4096) quantiles and values, `out` (r * WORDS,) the records.
    """

    instrument: Records
    near: Records
    near_rung: NDArray[np.int32]
    deep: Records
    plan: Records  # (p,) of CHILD, sorted by time
    fills: NDArray[np.int64]  # (FILLS_MAX, 3) scratch: order, contracts, rung
    tables: NDArray[np.int64]
    pace: NDArray[np.int64]  # mean gap between packets, ns, by five minutes of the session
    quote_threshold: NDArray[np.int64]
    quote_other: NDArray[np.int64]
    trade_threshold: NDArray[np.int64]
    trade_other: NDArray[np.int64]
    rule: NDArray[np.int64]  # constants of the world, R_*
    state: NDArray[np.int64]  # S_*
    seed: NDArray[np.uint64]
    out: NDArray[np.int64]


# rows of `tables`
TABLE_GAP: Final = 0  # gap between packets over its mean, times 65,536
TABLE_LATENCY: Final = 1  # ts_recv - ts_event, ns
TABLE_SENDING: Final = 2  # ts_in_delta, ns
TABLE_QUOTE_SIZE: Final = 3
TABLE_PACKET: Final = 4  # instruments updated in one packet
TABLE_VALUE: Final = 5  # value of an option in standard deviations, times 2**24
TABLE_FUTURE_SIZE: Final = 6
TABLE_LOTS: Final = 7  # and 8, 9, 10: sizes of trades by activity, and of the future's
TABLES: Final = 11
TABLE_LENGTH: Final = 4096
VALUE_STEPS: Final = 256  # of TABLE_VALUE in one standard deviation
VALUE_ZERO: Final = 2048  # the entry of a strike at the money

# entries of `state`
S_TS_EVENT: Final = 0
S_TS_RECV: Final = 1
S_SEQUENCE: Final = 2
S_SENDING: Final = 3
S_ORDER: Final = 4  # next order id
S_FUTURE: Final = 5  # the future's rung
S_WRITTEN: Final = 6  # records in `out`
S_RECORDS: Final = 7  # records since the start of the file
S_PRIORITY: Final = 8
S_CHILD: Final = 9  # next of `plan`
S_CURSOR: Final = 10  # instrument at which the snapshot or the opening goes on
S_TRIES: Final = 11  # of the child at hand that found nobody
S_NEXT: Final = 12  # time of the next packet of quotes where trades are planned ahead, 0: none yet
S_STATES: Final = 16

# entries of `rule`; chances are out of 65,536
R_OPEN_NS: Final = 0
R_CLOSE_NS: Final = 1
R_RECORDS: Final = 2  # stop at the first packet that reaches so many
R_NEAR: Final = 3
R_FUTURE_LOW: Final = 4
R_FUTURE_HIGH: Final = 5
R_MOVE: Final = 6  # chance that the future moves with a packet
R_MOVE_RUNGS: Final = 7
R_TRADE: Final = 8  # chance that a packet is an aggression
R_DEEP: Final = 9  # chance that a quote is far from the market
R_CANCEL: Final = 10  # chance that a maker cancels rather than moves
R_ICEBERG: Final = 11
R_SELF_MATCH: Final = 12
R_OFF_PRICE: Final = 13  # a fill whose price differs from its order's
R_GHOST: Final = 14  # a fill of an order nobody has seen
R_LOST_FILL: Final = 15  # a fill that is not published
R_IMPLIED: Final = 16  # an outright trade without aggressor
R_SIDELESS_LEG: Final = 17  # a leg of a spread trade without aggressor
R_SAME: Final = 18  # chance that a packet stays with one instrument
R_DEEP_RUNGS: Final = 19
R_FUTURE_SHARE: Final = 20  # chance that a packet of quotes is the future's
R_ANSWER: Final = 21  # chance that makers answer a planned trade with quotes
R_RULES: Final = 24
