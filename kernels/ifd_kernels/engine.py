"""The engine's loop: event time, book and flow over one batch of the ring.

What a record finds is settled before the record is applied: when it moves the watermark over a
step, seconds are sealed, rows emitted and instants scored first, from within the loop, so that
no result depends on how the stream was cut into batches.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import call_at, kernel, leaf, natural, prefetch, stay_apart
from ifd_kernels.book import (
    LOOK_AHEAD,
    LOOK_NEAR,
    Book,
    apply_event,
    check_room,
    prefetch_book,
    prefetch_levels,
    prefetch_order,
)
from ifd_kernels.layout import (
    ACTION_TRADE,
    BBO_CHANGED,
    BOOK_CLEARED,
    CONSUMED,
    DONE,
    F_BAD_TS_RECV,
    F_MAYBE_BAD_BOOK,
    F_SNAPSHOT,
    MARK_BAD_BOOK,
    MARK_REBUILT,
    MARK_TAPE_GAP,
    TOUCH_CROSSED,
    Integer,
    Records,
    Ring,
)
from ifd_kernels.packages import (
    Packages,
    note_package,
)
from ifd_kernels.passing import pass_time
from ifd_kernels.pressure import (
    AHEAD_LIMIT_NS,
    EVENTS_AHEAD,
    EVENTS_SNAPSHOT,
    TRADES_AHEAD,
    TRADES_COUNTED,
    TRADES_SNAPSHOT,
    Flow,
    add_trade,
    note_mark,
    note_touch,
)
from ifd_kernels.score_state import Score
from ifd_kernels.windows import (
    start_clock,
)

__all__ = ["PASS_TIME", "Engine", "advance"]

PASS_TIME: Final = 0  # its place among an engine's entries
BLOCK: Final = 8  # events whose orders are asked for together, a power of two
TIME_LIMIT_NS: Final = 2**62  # year 2116: later times are no times, and sums with them overflow


class Engine(NamedTuple):
    """All state of one engine: n instrument slots."""

    ring: Ring
    book: Book
    flow: Flow
    packages: Packages
    score: Score
    identities: Records  # (n,) IDENTITY
    actions: NDArray[np.int64]  # (256,): events applied, by action byte
    entries: NDArray[np.int64]  # (1,): the address of `pass_time` for these arrays


@leaf
def is_timely(flags: Integer, ts_event_ns: Integer, ts_recv_ns: Integer) -> bool:
    """Tell whether an event's own time counts: it may move the watermark, and add to flow.

    Not so for snapshots, for a bad ts_recv, without a time, or if it claims to be from after its
    receipt by more than clocks differ.
    """
    if (flags & (F_SNAPSHOT | F_BAD_TS_RECV)) != 0 or ts_event_ns < 0 or ts_recv_ns < 0:
        return False
    return bool(ts_event_ns < TIME_LIMIT_NS and ts_event_ns - ts_recv_ns <= AHEAD_LIMIT_NS)


@kernel
def is_ahead(flags: Integer, ts_ns: Integer, watermark_ns: Integer) -> bool:
    """Tell whether an untimely event is ahead: of its receipt, or, that unknown, of all others."""
    if (flags & F_SNAPSHOT) != 0 or ts_ns < 0:
        return False
    if (flags & F_BAD_TS_RECV) == 0 or watermark_ns < 0:
        return True
    return bool(ts_ns - watermark_ns > AHEAD_LIMIT_NS)


@kernel
def count_untimely(flow: Flow, ahead: bool, flags: Integer, ts_recv_ns: Integer) -> None:
    """Count an event that doesn't move time; note until when the latest snapshot came."""
    stay_apart()
    if ahead:
        flow.counters[EVENTS_AHEAD] += 1
    if (flags & F_SNAPSHOT) != 0:
        flow.counters[EVENTS_SNAPSHOT] += 1
        clock = flow.clock[0]
        clock["snapshot_ns"] = max(clock["snapshot_ns"], ts_recv_ns)


@kernel
def move_time(engine: Engine, ts_ns: Integer) -> Integer:
    """Settle what is due before an event at `ts_ns` is applied; begin event time with the first.

    `pass_time` is half of all code and runs once a second of event time. Called by its address
    it is compiled once and in a process of its own: a first start takes 19 s of CPU, not 35.
    """
    if engine.flow.clock[0]["watermark_ns"] < 0:
        start_clock(engine.flow, ts_ns)
    flow, score, touch = engine.flow, engine.score, engine.book.touch
    due = flow, engine.packages, score, engine.identities, touch, np.int64(ts_ns)
    return call_at(engine.entries[PASS_TIME], pass_time, due)


@kernel
def take_trade(ring: Ring, flow: Flow, i: Integer, ahead: bool) -> bool:
    """Add the trade at ring index `i` to flow, or count why it is none; return if it was added."""
    counted = flow.counters[TRADES_COUNTED]
    if ring.flags[i] & F_SNAPSHOT:
        flow.counters[TRADES_SNAPSHOT] += 1
    elif ahead:
        flow.counters[TRADES_AHEAD] += 1
    else:
        slot = np.int64(ring.slot[i])
        add_trade(flow, slot, ring.ts_event_ns[i], np.int64(ring.size[i]), ring.side[i])
    return bool(flow.counters[TRADES_COUNTED] > counted)


@kernel
def take_package(ring: Ring, packages: Packages, i: Integer) -> None:
    """Note the trade at ring index `i`, of a spread or of a leg, which was added to flow."""
    slot, number = np.int64(ring.slot[i]), np.int64(ring.instrument_id[i])
    size, side, is_print = np.int64(ring.size[i]), ring.side[i], ring.order_id[i] == 0
    note_package(packages, slot, number, ring.ts_event_ns[i], size, side, is_print)


@kernel
def take_marks(engine: Engine, i: Integer, bits: Integer, ts_ns: Integer) -> None:
    """Note what an R, or a book that may be bad, says about the quality of the windows."""
    flow, flags = engine.flow, engine.ring.flags[i]
    slot = np.int64(engine.ring.slot[i])
    if bits & BOOK_CLEARED:
        seen = engine.book.touch[slot]["changes"] > (1 if bits & BBO_CHANGED else 0)
        note_mark(flow, slot, ts_ns, MARK_BAD_BOOK, -1)
        mark = MARK_REBUILT if flags & F_SNAPSHOT else MARK_TAPE_GAP
        if mark == MARK_REBUILT or seen:
            note_mark(flow, slot, ts_ns, mark, 0)
            engine.score.marks[slot] |= np.uint16(mark)
    if flags & F_MAYBE_BAD_BOOK:
        note_mark(flow, slot, ts_ns, MARK_BAD_BOOK, 1)
        engine.score.marks[slot] |= np.uint16(MARK_BAD_BOOK)


@leaf
def prefetch_pane(flow: Flow, slot: Integer) -> None:
    """Ask for the line that a BBO change of `slot` will write."""
    clock = flow.clock[0]
    prefetch(flow.panes, slot * (clock["pane_mask"] + 1) + (clock["pane"] & clock["pane_mask"]))


@leaf
def prefetch_orders(engine: Engine, start: Integer, stop: Integer) -> None:
    """Ask for the order table's lines of events `start` to `stop` - 1, one right after the other.

    Each waits for its page to be found. One by one between the events of this loop that stopped
    all work for 13 to 15 % of its time (W2; 9 % in W1); side by side they cost 5 %, and W2 10 %
    less in all. The book's own loop is short enough that one wait hides the next: it was 5 to
    9 % slower so. Levels, sides and panes side by side as well gained nothing.
    """
    mask = engine.ring.action.shape[0] - 1
    for sequence in range(start, stop):
        prefetch_order(engine.book, engine.ring, natural(sequence & mask))


@kernel
def advance(engine: Engine, stop: Integer, known: Integer) -> Integer:
    """Apply the ring's events from CONSUMED up to sequence number `stop`; O(events).

    Every event's slot is resolved up to `known`, at least `stop`: so far ahead the book looks.
    Returns DONE, or a NEED_* status with CONSUMED at the first
    event that is not applied. What happens once in a hundred events is called, the rest is one
    loop: a call passes each of some 60 arrays as seven words.
    """
    ring, book, flow = engine.ring, engine.book, engine.flow
    clock = flow.clock[0]
    mask = ring.action.shape[0] - 1
    start = ring.cursor[CONSUMED]
    prefetch_orders(engine, start, min(-(-start // BLOCK) * BLOCK + BLOCK, known))
    for sequence in range(start, stop):
        i = natural(sequence & mask)
        if sequence & (BLOCK - 1) == 0:
            prefetch_orders(engine, sequence + BLOCK, min(sequence + 2 * BLOCK, known))
        if sequence + LOOK_AHEAD < known:
            prefetch_book(book, ring, (sequence + LOOK_AHEAD) & mask)
            near = natural((sequence + LOOK_NEAR) & mask)
            prefetch_levels(book, ring, near)
            prefetch_pane(flow, natural(np.int64(ring.slot[near])))
        flags = ring.flags[i]
        ts_ns = ring.ts_event_ns[i]
        timely = is_timely(flags, ts_ns, ring.ts_recv_ns[i])
        status = check_room(book)
        if timely and ts_ns > clock["watermark_ns"] and status == DONE:
            clock["lag_ns"] = ring.ts_recv_ns[i] - ts_ns
            if ts_ns >= clock["next_ns"]:
                status = move_time(engine, ts_ns)
            if status == DONE:
                clock["watermark_ns"] = ts_ns
        if status != DONE:
            ring.cursor[CONSUMED] = sequence
            return status
        slot = natural(np.int64(ring.slot[i]))
        touch = book.touch[slot]
        ofi, state = touch["ofi"], np.int64(touch["state"])
        bits = apply_event(book, ring, i)
        action = ring.action[i]
        engine.actions[action] += 1
        ahead = False
        if not timely:
            ahead = is_ahead(flags, ts_ns, clock["watermark_ns"])
            count_untimely(flow, ahead, flags, ring.ts_recv_ns[i])
            if ahead or (flags & F_SNAPSHOT) != 0:
                ts_ns = np.int64(-1)  # it stands at the watermark
        if bits & BBO_CHANGED:
            bid, ask = touch["bid_price_1e9"], touch["ask_price_1e9"]
            crossed = (state | np.int64(touch["state"])) & TOUCH_CROSSED
            note_touch(flow, slot, ts_ns, touch["ofi"] - ofi, bid, ask, crossed)
        if action == ACTION_TRADE:
            if take_trade(ring, flow, i, ahead) and engine.packages.roles[slot] != 0:
                take_package(ring, engine.packages, i)
        if (bits & BOOK_CLEARED) != 0 or (flags & F_MAYBE_BAD_BOOK) != 0:
            take_marks(engine, i, bits, ts_ns)
    ring.cursor[CONSUMED] = stop
    return DONE
