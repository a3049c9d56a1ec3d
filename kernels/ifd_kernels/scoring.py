"""The scoring instant: which strikes' flow is more one-sided than their history explains.

Every instant recomputes the slots whose facts changed, from rolling votes (`votes.py`), by the
formulas of `evidence.py`, the ranks of `ranks.py` and the gates of `verdict.py`, and appends a row
where an episode begins, alerts or first reaches a class of confidence. All slots are weighed before
the first is judged, so that what one says of the others doesn't depend on their order. Buying and
selling go through the same lines with their columns swapped.
"""

from __future__ import annotations

from typing import Final

from ifd_kernels._jit import kernel
from ifd_kernels.companions import companion_decades, in_step_share
from ifd_kernels.evidence import (
    activity_log_odds,
    anomaly_log_odds,
    coordination_log_odds,
    null_decades,
    raw_log_odds,
    usual_votes,
)
from ifd_kernels.layout import (
    DONE,
    MARK_BAD_BOOK,
    MARK_HALTED,
    MARK_REBUILT,
    NEED_SIGNALS,
    TOUCH_REBUILT,
    TOUCH_SUSPECT,
    Integer,
    Records,
)
from ifd_kernels.mids import falls_while_sold, mark_mids
from ifd_kernels.neighbours import coordination, sides_as_strong
from ifd_kernels.score_state import (
    ALERTS,
    ANY_RANK,
    BEST_AGAINST,
    BEST_CHANNEL,
    BEST_DEVIATE,
    BEST_FOR,
    BEST_MEAN_AGAINST,
    BEST_MEAN_FOR,
    BEST_RANK,
    BEST_TODAY,
    BEST_WINDOW,
    BLOCKS,
    CANDIDATES,
    DIRTY,
    DIRTY_DONE,
    DIRTY_WEIGHED,
    EVALUATIONS,
    FAMILY,
    NOW,
    ROWS,
    SEALS,
    WINDOWS_S,
    Score,
)
from ifd_kernels.signals import (
    EXPECTED,
    LIMITS,
    MAX_ANOMALY,
    MAX_COORDINATION,
    OPENS_ALERT,
    OPENS_CANDIDATE,
    OPENS_CLASS,
    PROFILE,
    SIGNAL,
)
from ifd_kernels.verdict import confidence_class, judge, judge_family, score_record
from ifd_kernels.votes import note_flow
from ifd_kernels.weighing import USUAL_WINDOW, begin_instant, refresh_family, weigh_dirty

__all__ = [
    "EXPECTED",
    "LIMITS",
    "PROFILE",
    "SIGNAL",
    "Score",
    "fill_evidence",
    "is_rare",
    "marks_of",
    "note_flow",
    "refresh_family",
    "score_instant",
    "score_record",
    "settle_side",
]

ROUNDING: Final = 1e-6  # of log-odds


@kernel
def persistence_of(score: Score, slot: int, side: int) -> float:
    """Return the share of active 60 s blocks of the last five that lean to the side."""
    active = 0
    leaning = 0
    for block in range(BLOCKS):
        this = score.blocks[slot, block, side]
        other = score.blocks[slot, block, 1 - side]
        if this + other > 0:
            active += 1
            if this > other:
                leaning += 1
    if active < 2:
        return 0.5
    return leaning / active


@kernel
def marks_of(score: Score, slot: int, identities: Records, touch: Records) -> int:
    """Return the quality marks of the slot: the engine's, the book's and the exchange's."""
    marks = int(score.marks[slot])
    state = int(touch[slot]["state"])
    if state & TOUCH_SUSPECT:
        marks |= MARK_BAD_BOOK
    if state & TOUCH_REBUILT:
        marks |= MARK_REBUILT
    if identities[slot]["halted"] != 0:
        marks |= MARK_HALTED
    return marks


@kernel
def seal_slot(score: Score, slot: int, identities: Records, touch: Records) -> None:
    """Append a row of the slot's marks, if the last one said others; they are 0 at the open.

    What a later scorer needs besides the hand-overs are the marks of the slots it may judge, and
    only slots whose facts changed are judged. The row has `instant_ns`, `slot` and `marks` alone.
    """
    marks = marks_of(score, slot, identities, touch)
    if marks == int(score.told_marks[slot]):
        return
    score.told_marks[slot] = marks
    out = score.signals[score.cursor[ROWS]]
    out["instant_ns"] = score.cursor[NOW]
    out["slot"] = slot
    out["marks"] = marks
    score.cursor[ROWS] += 1


@kernel
def fill_flow(
    score: Score, slot: int, side: int, identities: Records, touch: Records, row: int
) -> None:
    """Write what one side's own flow says into the row."""
    out = score.signals[row]
    best = score.best[slot, side]
    out["instant_ns"] = score.cursor[NOW]
    out["slot"] = slot
    out["instrument_id"] = identities[slot]["instrument_id"]
    out["kind"] = identities[slot]["kind"]
    out["side"] = 2 * side - 1
    out["rank"] = best[BEST_RANK]
    out["deviate"] = best[BEST_DEVIATE]
    out["window_s"] = WINDOWS_S[int(best[BEST_WINDOW])]
    out["channel"] = int(best[BEST_CHANNEL])
    out["votes_for"] = best[BEST_FOR]
    out["votes_against"] = best[BEST_AGAINST]
    out["expected_for"] = best[BEST_MEAN_FOR]
    out["expected_against"] = best[BEST_MEAN_AGAINST]
    out["today"] = best[BEST_TODAY]
    out["bid_volume"] = score.volumes[slot, 0]
    out["ask_volume"] = score.volumes[slot, 1]
    out["bid_votes"] = score.windows[slot, 1, 0]
    out["ask_votes"] = score.windows[slot, 1, 1]
    out["paired_votes"] = score.paired[slot]
    out["persistence"] = persistence_of(score, slot, side)
    out["marks"] = marks_of(score, slot, identities, touch)


@kernel
def fill_others(score: Score, slot: int, side: int, identities: Records, row: int) -> None:
    """Write into the row whether twin and companions make one side's flow a maker's."""
    out = score.signals[row]
    twin = int(identities[slot]["twin_slot"])
    crush = twin >= 0 and falls_while_sold(score, slot, side)
    out["crush"] = 1 if crush and falls_while_sold(score, twin, side) else 0
    out["in_step"] = in_step_share(score, identities, slot, side)
    out["companion_decades"] = companion_decades(score, identities, slot, side)


@kernel
def may_be_candidate(score: Score, rank: float, usual: float, lasts: float, agrees: float) -> bool:
    """Return whether a side could be a candidate if all that isn't told spoke for it.

    `lasts`: its persistence, at most; `agrees`: its neighbours' agreement, at most.
    """
    limits = score.limits
    reached = raw_log_odds(limits, null_decades(limits, rank), lasts)
    reached += activity_log_odds(limits, usual) + anomaly_log_odds(limits, MAX_ANOMALY)
    reached += coordination_log_odds(limits, agrees)
    return reached >= -ROUNDING


@kernel
def fill_evidence(
    score: Score, slot: int, side: int, identities: Records, touch: Records, row: int
) -> bool:
    """Write one side's evidence into the row; False: it can be no candidate, what is there is none.

    What takes longest comes last: neighbours are all slots, companions many seconds of many.
    """
    out = score.signals[row]
    rank = score.best[slot, side, BEST_RANK]
    usual = usual_votes(score.expected[slot]["votes_1"], score.shares[USUAL_WINDOW])
    if not may_be_candidate(score, rank, usual, 1.0, MAX_COORDINATION):
        return False
    fill_flow(score, slot, side, identities, touch, row)
    out["usual_votes"] = usual
    if not may_be_candidate(score, rank, usual, out["persistence"], MAX_COORDINATION):
        return False
    out["coordination"] = coordination(score, identities, slot, side)
    if not may_be_candidate(score, rank, usual, out["persistence"], out["coordination"]):
        return False
    fill_others(score, slot, side, identities, row)
    return True


@kernel
def judge_side(
    score: Score, slot: int, side: int, identities: Records, touch: Records, row: int
) -> bool:
    """Write one side's verdict into the row; False: it is no candidate."""
    if not fill_evidence(score, slot, side, identities, touch, row):
        return False
    judge(score.signals, row, score.expected, slot, score.profile, score.limits)
    return bool(score.signals[row]["candidate"] == 1)


@kernel
def is_rare(score: Score, slot: int, side: int) -> bool:
    """Return whether chance gives evidence as strong as the side's less than once a session.

    By its strongest evidence, whatever the profile asks, and whatever else weighs in.
    """
    best = score.best[slot, side]
    return null_decades(score.limits, max(best[BEST_RANK], best[ANY_RANK])) >= 0.0


@kernel
def follow_episode(score: Score, slot: int, side: int, candidate: bool, rare: bool) -> None:
    """Begin an episode with a candidate; let it last while there is one or evidence is rare.

    Over breaks shorter than the cooldown too. The longest window holds flow for half an hour, in
    which its history, its neighbours and its minutes come and go: a candidate that comes back with
    them is no new one.
    """
    now = score.cursor[NOW]
    if score.active[slot, side] == 0:
        if candidate:
            score.active[slot, side] = 1
            if now - score.ended_ns[slot, side] >= int(score.profile[0]["cooldown_ns"]):
                score.began_ns[slot, side] = now
                score.reached[slot, side] = 0
    elif not (candidate or rare):
        score.active[slot, side] = 0
        score.ended_ns[slot, side] = now


@kernel
def is_due(score: Score, slot: int, side: int, what: int, holds: bool) -> bool:
    """Return whether a row is due: it holds, and none was due within the cooldown.

    Taking the first and then each next one a cooldown later gives the largest number of rows so
    far apart, which can only fall when fewer instants hold: so each threshold acts one way.
    """
    now = score.cursor[NOW]
    if not holds or now - score.due_ns[slot, side, what] < int(score.profile[0]["cooldown_ns"]):
        return False
    score.due_ns[slot, side, what] = now
    return True


@kernel
def reaches_class(score: Score, slot: int, side: int, row: int) -> bool:
    """Return whether the row's confidence is of a class that its episode had not reached.

    So each class is claimed where it is crossed. A row written only a cooldown later tells of
    episodes that could have become alerts since, and did not: such claims come true less often
    than the same confidence at its crossing.
    """
    reached = confidence_class(float(score.signals[row]["final_confidence"]))
    if reached <= score.reached[slot, side]:
        return False
    score.reached[slot, side] = reached
    return True


@kernel
def settle_side(
    score: Score, slot: int, side: int, candidate: bool, rare: bool, family: float
) -> None:
    """Follow a side's episode, and append the row at hand if one is due.

    `family`: options over sides that are at least as strong; -1: to be counted if it matters.
    """
    row = score.cursor[ROWS]
    alert = candidate and score.signals[row]["alert"] == 1
    follow_episode(score, slot, side, candidate, rare)
    opens = 0
    if is_due(score, slot, side, 0, candidate):
        score.cursor[CANDIDATES] += 1
        opens |= OPENS_CANDIDATE
    if is_due(score, slot, side, 1, alert):
        score.cursor[ALERTS] += 1
        opens |= OPENS_ALERT
    if candidate and reaches_class(score, slot, side, row):
        opens |= OPENS_CLASS
    if opens != 0:
        if family < 0.0:
            rank = score.best[slot, side, BEST_RANK]
            family = float(score.cursor[FAMILY]) / sides_as_strong(score, rank)
        judge_family(score.signals, row, family)
        score.signals[row]["opens"] = opens
        score.signals[row]["alert"] = 1 if opens & OPENS_ALERT else 0
        score.signals[row]["episode_ns"] = score.began_ns[slot, side]
        score.cursor[ROWS] = row + 1


@kernel
def score_side(score: Score, slot: int, side: int, identities: Records, touch: Records) -> None:
    """Judge one side of a slot, follow its episode, and append a row if one is due."""
    candidate = False
    if score.best[slot, side, BEST_RANK] >= score.limits[0]["least_rank"]:
        candidate = judge_side(score, slot, side, identities, touch, score.cursor[ROWS])
    settle_side(score, slot, side, candidate, is_rare(score, slot, side), -1.0)


@kernel
def score_instant(score: Score, instant_ns: Integer, identities: Records, touch: Records) -> int:
    """Score all slots whose facts changed since they were last scored; append signals.

    Facts change when flow is noted in the slot or its twin, when an entry of the slot passes a
    tail, and when the mid of a leg turns. Returns DONE, or NEED_VOTES, or NEED_SIGNALS with slots
    left to judge: take the rows (set cursor[ROWS] to 0) or grow `signals`, and call again with
    the same instant. O(slots changed).

    While the session is sealed (cursor[SEALS]) nothing is weighed: see `seal_slot`.
    """
    if instant_ns != score.cursor[NOW]:
        status = mark_mids(score, instant_ns, identities, touch)
        if status != DONE:
            return status
        begin_instant(score, instant_ns)
    sealing = score.cursor[SEALS] != 0
    if not sealing:
        weigh_dirty(score, identities)
    least = float(score.limits[0]["least_rank"])
    while score.cursor[DIRTY_DONE] < score.cursor[DIRTY]:
        if score.cursor[ROWS] + 2 > score.signals.shape[0]:
            return NEED_SIGNALS
        slot = int(score.dirty[score.cursor[DIRTY_DONE]])
        score.cursor[DIRTY_DONE] += 1
        score.is_dirty[slot] = 0
        if sealing:
            seal_slot(score, slot, identities, touch)
            continue
        for side in range(2):
            if score.active[slot, side] != 0 or score.best[slot, side, BEST_RANK] >= least:
                score_side(score, slot, side, identities, touch)
    score.cursor[EVALUATIONS] += score.cursor[DIRTY]
    score.cursor[DIRTY] = 0
    score.cursor[DIRTY_DONE] = 0
    score.cursor[DIRTY_WEIGHED] = 0
    return DONE
