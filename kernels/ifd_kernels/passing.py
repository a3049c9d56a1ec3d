"""What is due as event time passes: trades handed to the scorer, seconds sealed, rows, scores.

`pass_time` does it in the order of time, from within the engine's loop and where a stream ends.
"""

from __future__ import annotations

import numpy as np

from ifd_kernels._jit import kernel
from ifd_kernels.layout import DONE, NEED_ROWS, NEED_SESSION, SECOND_NS, Integer, Records
from ifd_kernels.packages import (
    BOUGHT,
    GROUPS,
    SOLD,
    Packages,
    seal_packages,
    settle_packages,
    withheld,
)
from ifd_kernels.pressure import (
    AHEAD_LIMIT_NS,
    INSTANTS_SCORED,
    ROW_FACTS,
    ROW_REPORT,
    Flow,
)
from ifd_kernels.score_state import TAIL_NS, TAILS, Score
from ifd_kernels.scoring import score_instant
from ifd_kernels.votes import check_votes_room, note_flow
from ifd_kernels.windows import begin_pane, emit_rows, seal_pane, seal_second, set_next

__all__ = ["pass_time"]


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
    """Score or seal the instant at hand if it lies in a session, (open, close]; set the next."""
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
