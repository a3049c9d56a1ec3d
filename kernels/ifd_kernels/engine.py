"""The engine's loop: event time, book, flow and scores over one batch of the ring.

What a record finds is settled before the record is applied: when it moves the watermark over a
step, seconds are sealed, rows emitted and instants scored first, from within the loop, so that
no result depends on how the stream was cut into batches.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel
from ifd_kernels.book import Book, apply_event, check_room, prefetch_event
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
    NEED_ROWS,
    NEED_SESSION,
    SECOND_NS,
    Records,
    Ring,
)
from ifd_kernels.pressure import (
    AHEAD_LIMIT_NS,
    EVENTS_AHEAD,
    INSTANTS_SCORED,
    ROW_FACTS,
    ROW_REPORT,
    TRADES_AHEAD,
    TRADES_SNAPSHOT,
    Flow,
    add_trade,
    note_mark,
    note_touch,
)
from ifd_kernels.scoring import score_instant
from ifd_kernels.votes import TAIL_NS, TAILS, Score, check_votes_room, note_flow
from ifd_kernels.windows import (
    begin_pane,
    emit_rows,
    seal_pane,
    seal_second,
    set_next,
    start_clock,
)

__all__ = ["advance", "pass_time"]

# How far ahead of the event at hand the order table is prefetched: its one cache miss is half
# the cost of the book; eight events hide it, sixteen evict what is still wanted.
LOOK_AHEAD: Final = 8
TIME_LIMIT_NS: Final = 2**62  # year 2116: later times are no times, and sums with them overflow


class Engine(NamedTuple):
    """All state of one engine: n instrument slots."""

    ring: Ring
    book: Book
    flow: Flow
    score: Score
    identities: Records  # (n,) IDENTITY
    actions: NDArray[np.int64]  # (256,): events applied, by action byte


@kernel
def hand_over(flow: Flow, score: Score, identities: Records) -> int:
    """Give the scorer the contracts it has not seen, as known at the next instant.

    Returns DONE, or NEED_VOTES with nothing handed over.
    """
    clock = flow.clock[0]
    status = check_votes_room(score, clock["fresh_count"])
    if status != DONE:
        return status
    for i in range(clock["fresh_count"]):
        index = flow.fresh[i]
        bucket = flow.buckets[index]
        note_flow(
            score,
            identities,
            index // (clock["open_mask"] + 1),
            bucket["second"],
            clock["next_instant_ns"],
            bucket["scored_bid_volume"],
            bucket["bid_volume"],
            bucket["scored_ask_volume"],
            bucket["ask_volume"],
        )
        bucket["scored_bid_volume"] = bucket["bid_volume"]
        bucket["scored_ask_volume"] = bucket["ask_volume"]
        bucket["fresh"] = 0
    clock["fresh_count"] = 0
    return DONE


@kernel
def show_marks(flow: Flow, score: Score) -> None:
    """Tell the scorer which quality marks hold: those of the pane just sealed, and lasting ones."""
    clock = flow.clock[0]
    for slot in range(clock["slots"]):
        index = slot * (clock["pane_mask"] + 1) + (clock["pane"] & clock["pane_mask"])
        marks = np.int64(flow.panes[index]["marks"]) | flow.carry[slot]["marks"]
        score.marks[slot] = np.uint16(marks)


@kernel
def finish_pane(flow: Flow, score: Score, identities: Records) -> None:
    """Settle the first open pane, emit the windows that end with it, begin the next."""
    clock = flow.clock[0]
    seal_pane(flow, identities)
    show_marks(flow, score)
    if clock["facts_panes"] == 0:
        both = ROW_REPORT | ROW_FACTS
        emit_rows(flow, identities, clock["window_panes"], clock["step_panes"], both)
    else:
        emit_rows(flow, identities, clock["window_panes"], clock["step_panes"], ROW_REPORT)
        emit_rows(flow, identities, clock["facts_panes"], clock["facts_panes"], ROW_FACTS)
    begin_pane(flow, clock["pane"] + 1)


@kernel
def skip_silence(flow: Flow, target_ns: int) -> None:
    """Jump over time in which nothing is open: a weekend costs nothing, nor does a bad clock.

    Allowed once so many panes have passed without a trade that every window, every age the
    scorer tells apart, and every pane a touch could already stand in, is behind. It ends a window
    early: a row wants the underlying's mid as its first pane began.
    """
    clock = flow.clock[0]
    span = max(clock["window_panes"], clock["facts_panes"])
    if clock["quiet_panes"] <= span + clock["open_mask"] or clock["pane_trades"] > 0:
        return
    if clock["quiet_panes"] * clock["pane_ns"] <= TAIL_NS[TAILS - 1] + clock["interval_ns"]:
        return
    if clock["fresh_count"] > 0:
        return
    for count in flow.busy_count:
        if count > 0:
            return
    if clock["pane_start_ns"] <= clock["watermark_ns"] + AHEAD_LIMIT_NS:
        return
    pane = (target_ns - clock["lateness_ns"]) // clock["pane_ns"] - span
    if pane <= clock["pane"] + 1:
        return
    clock["sealed_second"] = pane * clock["pane_ns"] // SECOND_NS
    interval = np.int64(clock["interval_ns"])
    start = pane * clock["pane_ns"]
    clock["next_instant_ns"] = max(clock["next_instant_ns"], -(-start // interval) * interval)
    begin_pane(flow, pane)


@kernel
def score_now(flow: Flow, score: Score, identities: Records, touch: Records) -> int:
    """Score the instant at hand if it lies in a session, (open, close]; then set the next."""
    clock = flow.clock[0]
    instant = np.int64(clock["next_instant_ns"])
    session = clock["session"]
    if session < flow.sessions.shape[0] and flow.sessions[session, 0] < instant:
        status = score_instant(score, instant, identities, touch)
        if status != DONE:
            return status
        flow.counters[INSTANTS_SCORED] += 1
    clock["next_instant_ns"] = instant + clock["interval_ns"]
    return DONE


@kernel
def pass_time(flow: Flow, score: Score, identities: Records, touch: Records, target_ns: int) -> int:
    """Do, in order of time, everything due up to `target_ns`: seal, emit, then score.

    Returns DONE, or what is needed before the step at hand: mend it and call again.
    """
    clock = flow.clock[0]
    while clock["next_ns"] <= target_ns:
        if clock["joined_session"] != clock["session"]:
            return NEED_SESSION
        now = np.int64(clock["next_ns"])
        status = hand_over(flow, score, identities)
        if status != DONE:
            return status
        if now == (clock["sealed_second"] + 1) * SECOND_NS + clock["lateness_ns"]:
            ends_pane = (clock["sealed_second"] + 1) * SECOND_NS >= clock["pane_end_ns"]
            if ends_pane and clock["row_count"] + 2 * clock["slots"] > flow.rows.shape[0]:
                return NEED_ROWS
            seal_second(flow)
            if ends_pane:
                finish_pane(flow, score, identities)
                skip_silence(flow, target_ns)
        if now == clock["next_instant_ns"]:
            status = score_now(flow, score, identities, touch)
            if status != DONE:
                set_next(flow)
                return status
        set_next(flow)
    return NEED_SESSION if clock["joined_session"] != clock["session"] else DONE


@kernel
def is_ahead(ts_event_ns: int, ts_recv_ns: int) -> bool:
    """Tell whether an event claims to be from after its receipt, by more than clocks differ."""
    if ts_event_ns < 0:
        return False
    if ts_recv_ns < 0 or ts_event_ns >= TIME_LIMIT_NS:
        return True
    return ts_event_ns - ts_recv_ns > AHEAD_LIMIT_NS


@kernel
def leads(ts_event_ns: int, watermark_ns: int) -> bool:
    """Tell the same of an event whose receipt is not known: by the watermark, if it has begun."""
    if watermark_ns < 0:
        return ts_event_ns >= 0
    return ts_event_ns - watermark_ns > AHEAD_LIMIT_NS


@kernel
def apply_one(engine: Engine, i: int, flow_allowed: bool) -> None:
    """Apply the event at ring index `i` to book and flow."""
    ring, book, flow = engine.ring, engine.book, engine.flow
    slot = np.int64(ring.slot[i])
    action = ring.action[i]
    flags = ring.flags[i]
    seen = np.int64(book.touch[slot]["changes"])
    bits = apply_event(book, ring, i)
    engine.actions[action] += 1
    own_time = flow_allowed and (flags & F_SNAPSHOT) == 0
    ts_ns = ring.ts_event_ns[i] if own_time else np.int64(-1)
    if bits & BBO_CHANGED:
        touch = book.touch[slot]
        note_touch(flow, slot, ts_ns, touch["ofi"], touch["bid_price_1e9"], touch["ask_price_1e9"])
    if action == ACTION_TRADE:
        if flags & F_SNAPSHOT:
            flow.counters[TRADES_SNAPSHOT] += 1
        elif not flow_allowed:
            flow.counters[TRADES_AHEAD] += 1
        else:
            add_trade(flow, slot, ring.ts_event_ns[i], np.int64(ring.size[i]), ring.side[i])
    if bits & BOOK_CLEARED:
        note_mark(flow, slot, ts_ns, MARK_BAD_BOOK, -1)
        mark = MARK_REBUILT if flags & F_SNAPSHOT else MARK_TAPE_GAP
        if mark == MARK_REBUILT or seen > 0:
            note_mark(flow, slot, ts_ns, mark, 0)
            engine.score.marks[slot] |= np.uint16(mark)
    if flags & F_MAYBE_BAD_BOOK:
        note_mark(flow, slot, ts_ns, MARK_BAD_BOOK, 1)
        engine.score.marks[slot] |= np.uint16(MARK_BAD_BOOK)


@kernel
def advance(engine: Engine, stop: int) -> int:
    """Apply the ring's events from CONSUMED up to sequence number `stop`; O(events).

    Every event's slot is resolved. Returns DONE, or a NEED_* status with CONSUMED at the first
    event that is not applied.
    """
    ring, flow = engine.ring, engine.flow
    clock = flow.clock[0]
    mask = ring.action.shape[0] - 1
    for sequence in range(ring.cursor[CONSUMED], stop):
        i = sequence & mask
        if sequence + LOOK_AHEAD < stop:
            prefetch_event(engine.book, ring, (sequence + LOOK_AHEAD) & mask)
        status = check_room(engine.book)
        ts_ns = ring.ts_event_ns[i]
        flow_allowed = True
        if status == DONE and (ring.flags[i] & F_SNAPSHOT) == 0:
            if ring.flags[i] & F_BAD_TS_RECV:
                flow_allowed = not leads(ts_ns, clock["watermark_ns"])
                flow.counters[EVENTS_AHEAD] += 0 if flow_allowed else 1
            elif is_ahead(ts_ns, ring.ts_recv_ns[i]):
                flow_allowed = False
                flow.counters[EVENTS_AHEAD] += 1
            elif ts_ns > clock["watermark_ns"]:
                clock["lag_ns"] = ring.ts_recv_ns[i] - ts_ns
                if clock["watermark_ns"] < 0:
                    start_clock(flow, ts_ns)
                if ts_ns >= clock["next_ns"] or clock["watermark_ns"] < 0:
                    status = pass_time(
                        flow, engine.score, engine.identities, engine.book.touch, ts_ns
                    )
                if status == DONE:
                    clock["watermark_ns"] = ts_ns
        if status != DONE:
            ring.cursor[CONSUMED] = sequence
            return status
        apply_one(engine, i, flow_allowed)
    ring.cursor[CONSUMED] = stop
    return DONE
