"""Names of the bytes: the wire's constants, and the arrays that kernels share.

Everything here is a true constant or a type. Arrays are owned and sized by `ifd_fast`; kernels
get them as arguments. A state that is touched whole is one structured array (one cache line an
entry where it can be); columns that are scanned are a NamedTuple of arrays. In a kernel write
`array[i]["field"]`: it compiles, and it also runs with the compiler switched off.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["BUCKET", "IDENTITY", "PANE", "TOUCH", "Ring"]

Records: TypeAlias = NDArray[Any]  # a structured array
Integer: TypeAlias = int | np.signedinteger[Any]  # one type once compiled: int64

# --- DBN, versions 1 to 3 ------------------------------------------------------------------------
RTYPE_MBO: Final = 0xA0
RTYPE_STATUS: Final = 0x12
RTYPE_DEFINITION: Final = 0x13
RTYPE_ERROR: Final = 0x15
RTYPE_SYMBOL_MAPPING: Final = 0x16
RTYPE_SYSTEM: Final = 0x17
RTYPE_STATISTICS: Final = 0x18

MBO_BYTES: Final = 56
MBO_BYTES_TS_OUT: Final = 64
RECORD_HEADER_BYTES: Final = 16

ACTION_ADD: Final = 65  # A
ACTION_CANCEL: Final = 67  # C
ACTION_MODIFY: Final = 77  # M
ACTION_CLEAR: Final = 82  # R
ACTION_TRADE: Final = 84  # T
ACTION_FILL: Final = 70  # F
ACTION_NONE: Final = 78  # N

SIDE_ASK: Final = 65  # A: a resting sell; on a trade, a sell aggressor
SIDE_BID: Final = 66  # B: a resting buy; on a trade, a buy aggressor
SIDE_NONE: Final = 78  # N

F_LAST: Final = 128
F_SNAPSHOT: Final = 32
F_BAD_TS_RECV: Final = 8
F_MAYBE_BAD_BOOK: Final = 4

UNDEF_PRICE: Final = 2**63 - 1
UNDEF_SIZE: Final = 2**32 - 1

SECOND_NS: Final = 1_000_000_000

# --- what a kernel that works on a batch says when it stops ---------------------------------------
# It returns (status, first unprocessed index); the border mends the cause and calls again.
DONE: Final = 0  # all of the batch is processed
RING_FULL: Final = 1  # consume events first
NEED_ORDERS: Final = 2  # the order table must grow
NEED_LEVELS: Final = 3  # the slab of price levels must grow
NEED_SLOTS: Final = 4  # the table of instruments must grow
NEED_ROWS: Final = 5  # an output buffer is full: take its rows
HANDED_OUT: Final = 6  # records that are not MBO come next: handle them, then go on
REFUSED: Final = 7  # bytes that can't be walked: nothing after this offset is read
NEED_VOTES: Final = 8  # the scorer's log of votes must grow
NEED_SESSION: Final = 9  # another trading session is in force: join its baselines
NEED_SIGNALS: Final = 10  # the scorer's rows are full: take them or grow
NEED_NAMES: Final = 11  # the next event comes after something that is scheduled: do that first


class Ring(NamedTuple):
    """Events as columns, each (capacity,), capacity a power of two.

    The event with sequence number `s` lies at `s & (capacity - 1)`. `cursor` (2,) holds the
    sequence numbers PUBLISHED (one past the newest event) and CONSUMED (one past the newest
    event done with); both only grow, and 0 <= PUBLISHED - CONSUMED <= capacity always.
    Times are int64 ns UTC, -1 where the wire says UNDEF; prices int64 at 1e-9.
    """

    ts_event_ns: NDArray[np.int64]
    ts_recv_ns: NDArray[np.int64]
    order_id: NDArray[np.uint64]
    price_1e9: NDArray[np.int64]
    size: NDArray[np.uint32]
    instrument_id: NDArray[np.uint32]
    sequence: NDArray[np.uint32]
    slot: NDArray[np.int32]  # written by resolve_batch, -1 before
    flags: NDArray[np.uint8]
    action: NDArray[np.uint8]
    side: NDArray[np.uint8]
    cursor: NDArray[np.int64]


PUBLISHED: Final = 0
CONSUMED: Final = 1

# --- per instrument slot ------------------------------------------------------------------------
# What a kernel needs to know of an instrument; names and texts stay in ifd_fast.
KIND_UNKNOWN: Final = 0
KIND_CALL: Final = 1
KIND_PUT: Final = 2
KIND_FUTURE: Final = 3
KIND_SPREAD: Final = 4

IDENTITY: Final = np.dtype(
    [
        ("instrument_id", "<u4"),
        ("kind", "u1"),  # KIND_*
        ("mapped", "u1"),  # 1: identity known; 0: anonymous, never scored
        ("retired", "u1"),  # 1: its id now means another instrument; gets no more events
        ("halted", "u1"),  # 1: a status record says it is not trading
        ("strike_1e9", "<i8"),  # UNDEF_PRICE if it has none
        ("expiration_ns", "<i8"),  # -1 if unknown
        ("underlying_slot", "<i4"),  # the future's slot, -1 if none is known
        ("twin_slot", "<i4"),  # call <-> put of one strike, expiry and underlying; -1 if none
    ]
)

# The book's best prices as they stood at the instrument's last F_LAST: one cache line.
TOUCH: Final = np.dtype(
    [
        ("bid_price_1e9", "<i8"),  # UNDEF_PRICE if that side is empty
        ("ask_price_1e9", "<i8"),
        ("bid_size", "<i8"),
        ("ask_size", "<i8"),
        ("bid_count", "<i4"),  # orders at the best price
        ("ask_count", "<i4"),
        ("ofi", "<i8"),  # cumulative order-flow imbalance, contracts; take differences
        ("changes", "<i8"),  # BBO changes so far; 0: never seen an F_LAST
        ("state", "<u4"),  # TOUCH_*
        ("unread", "<u4"),  # the book's own: what has moved since the last F_LAST
    ]
)
TOUCH_CROSSED: Final = 1  # bid >= ask
TOUCH_SUSPECT: Final = 2  # F_MAYBE_BAD_BOOK since the last R
TOUCH_REBUILT: Final = 4  # the book came from a snapshot
TOUCH_RESET: Final = 8  # an R that was no snapshot: the tape may have a hole

# What apply_event says about the event it applied (bits).
APPLIED: Final = 0
BBO_CHANGED: Final = 1  # an F_LAST at which at least one of the six values differs
BOOK_CLEARED: Final = 2  # an R record
# --- one second of one instrument's trades, open until sealed -------------------------------------
BUCKET: Final = np.dtype(
    [
        ("second", "<i8"),  # seconds since the epoch; -1: free
        ("bid_volume", "<i8"),  # contracts that hit the bid (sell aggressor)
        ("ask_volume", "<i8"),  # contracts that lifted the ask (buy aggressor)
        ("unknown_volume", "<i8"),  # contracts of trades with side N
        ("scored_bid_volume", "<i8"),  # of bid_volume, what the scorer has already been given
        ("scored_ask_volume", "<i8"),
        ("trades", "<i8"),
        ("fresh", "<i8"),  # 1: holds volume the scorer has not seen
    ]
)

# --- one pane of one instrument: windows are whole numbers of panes -------------------------------
PANE: Final = np.dtype(
    [
        # first cache line: what a BBO change writes
        ("pane", "<i8"),  # start / pane length; -1: free
        ("ofi", "<i8"),
        ("bid_price_1e9", "<i8"),  # the last touch inside, if `touched`; once sealed: at its end
        ("ask_price_1e9", "<i8"),
        ("mid2_open_1e9", "<i8"),  # bid + ask as the pane began, UNDEF_PRICE without both
        ("marks", "<u2"),  # MARK_* that held at some time inside
        ("begun", "<u2"),  # lasting marks that hold from inside this pane on
        ("ended", "<u2"),  # lasting marks that ended inside
        ("touched", "<u2"),
        ("bid_volume", "<i8"),
        ("ask_volume", "<i8"),
        # second cache line: what sealing a second with trades writes
        ("unknown_volume", "<i8"),
        ("trades", "<i8"),
        ("bid_votes_1", "<i8"),  # contracts, at most 1 a second and side
        ("ask_votes_1", "<i8"),
        ("bid_votes_10", "<i8"),  # contracts, at most 10 a second and side
        ("ask_votes_10", "<i8"),
        ("package_volume", "<i8"),  # contracts of a spread's legs that its trades account for
        ("volatility_volume", "<i8"),  # of these, of packages whose legs' deltas offset
    ]
)

# Quality of a window: bits that are collected, then the worst grade that applies (design §5).
MARK_TAPE_GAP: Final = 1  # F
MARK_STALE: Final = 2  # F
MARK_UNMAPPED: Final = 4  # F
MARK_PARTLY_OBSERVED: Final = 8  # F
MARK_BAD_BOOK: Final = 16  # D
MARK_LAGGING: Final = 32  # D
MARK_CROSSED: Final = 64  # D: crossed over 1 s in continuous trading
MARK_QUOTE_RULE: Final = 128  # C
MARK_HALTED: Final = 256  # C
MARK_REBUILT: Final = 512  # B
MARK_LATE: Final = 1024  # B
