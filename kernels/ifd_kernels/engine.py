"""The engine's loop: event time, book, flow and scores over one batch of the ring.

What a record finds is settled before the record is applied: when it moves the watermark over a
step, seconds are sealed, rows emitted and instants scored first, from within the loop, so that
no result depends on how the stream was cut into batches.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import call_at, kernel, leaf, natural, prefetch
from ifd_kernels.book import (
    LOOK_AHEAD,
    LOOK_NEAR,
    Book,
    apply_event,
    check_room,
    prefetch_event,
    prefetch_levels,
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
    NEED_ROWS,
    NEED_SESSION,
    SECOND_NS,
    TOUCH_CROSSED,
    Integer,
    Records,
    Ring,
)
from ifd_kernels.packages import (
    BOUGHT,
    GROUPS,
    SOLD,
    Packages,
    note_package,
    seal_packages,
    settle_packages,
    withheld,
)
from ifd_kernels.pressure import (
    AHEAD_LIMIT_NS,
    EVENTS_AHEAD,
    INSTANTS_SCORED,
    ROW_FACTS,
    ROW_REPORT,
    TRADES_AHEAD,
    TRADES_COUNTED,
    TRADES_SNAPSHOT,
    Flow,
    add_trade,
    note_mark,
    note_touch,
)
from ifd_kernels.score_state import TAIL_NS, TAILS, Score
from ifd_kernels.scoring import score_instant
from ifd_kernels.votes import check_votes_room, note_flow
from ifd_kernels.windows import (
    begin_pane,
    emit_rows,
    seal_pane,
    seal_second,
    set_next,
    start_clock,
)

__all__ = ["PASS_TIME", "Engine", "advance", "pass_time"]

PASS_TIME: Final = 0  # its place among an engine's entries
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


@kernel
def hand_over(
    flow: Flow, packages: Packages, score: Score, identities: Records, now_ns: Integer
) -> Integer:
    """Give the scorer the contracts it has not seen, as known at the next instant.

    Not those of packages. Returns DONE, or NEED_VOTES with nothing handed over.
    """
    clock = flow.clock[0]
    has_groups = packages.counters[GROUPS] > 0
    if has_groups:
        settle_packages(flow, packages, now_ns)
    status = check_votes_room(score, clock["fresh_count"])
    if status != DONE:
        return status
    for i in range(clock["fresh_count"]):
        index = flow.fresh[i]
        bucket = flow.buckets[index]
        slot = index // (clock["open_mask"] + 1)
        bucket["fresh"] = 0
        bid_before, bid_after = bucket["scored_bid_volume"], bucket["bid_volume"]
        ask_before, ask_after = bucket["scored_ask_volume"], bucket["ask_volume"]
        if has_groups and packages.roles[slot] < 0:
            bid_after -= withheld(packages, slot, bucket["second"], SOLD)
            ask_after -= withheld(packages, slot, bucket["second"], BOUGHT)
            if bid_after == bid_before and ask_after == ask_before:
                continue
        note_flow(
            score,
            identities,
            slot,
            bucket["second"],
            clock["next_instant_ns"],
            bid_before,
            bid_after,
            ask_before,
            ask_after,
        )
        bucket["scored_bid_volume"] = bid_after
        bucket["scored_ask_volume"] = ask_after
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
    seal_pane(flow)
    show_marks(flow, score)
    if clock["facts_panes"] == 0:
        both = ROW_REPORT | ROW_FACTS
        emit_rows(flow, identities, clock["window_panes"], clock["step_panes"], both)
    else:
        emit_rows(flow, identities, clock["window_panes"], clock["step_panes"], ROW_REPORT)
        emit_rows(flow, identities, clock["facts_panes"], clock["facts_panes"], ROW_FACTS)
    begin_pane(flow, clock["pane"] + 1)


@kernel
def skip_silence(flow: Flow, target_ns: Integer) -> None:
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
def score_now(flow: Flow, score: Score, identities: Records, touch: Records) -> Integer:
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
def pass_time(
    flow: Flow,
    packages: Packages,
    score: Score,
    identities: Records,
    touch: Records,
    target_ns: Integer,
) -> Integer:
    """Do, in order of time, everything due up to `target_ns`: seal, emit, then score.

    Returns DONE, or what is needed before the step at hand: mend it and call again.
    """
    clock = flow.clock[0]
    while clock["next_ns"] <= target_ns:
        if clock["joined_session"] != clock["session"]:
            return NEED_SESSION
        now = np.int64(clock["next_ns"])
        status = hand_over(flow, packages, score, identities, now)
        if status != DONE:
            return status
        if now == (clock["sealed_second"] + 1) * SECOND_NS + clock["lateness_ns"]:
            ends_pane = (clock["sealed_second"] + 1) * SECOND_NS >= clock["pane_end_ns"]
            if ends_pane and clock["row_count"] + 2 * clock["slots"] > flow.rows.shape[0]:
                return NEED_ROWS
            seal_second(flow)
            if packages.counters[GROUPS] > 0:
                seal_packages(flow, packages)
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
    for sequence in range(ring.cursor[CONSUMED], stop):
        i = natural(sequence & mask)
        if sequence + LOOK_AHEAD < known:
            prefetch_event(book, ring, (sequence + LOOK_AHEAD) & mask)
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
            flow.counters[EVENTS_AHEAD] += 1 if ahead else 0
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
