"""A session scored again from its hand-overs alone, by the very kernels that scored it live.

Hand-overs are the rows of the scorer's log in its order: what was handed over, when, and how mids
moved. Nothing changes between them but at the ages the log's tails stand for, so time goes from
one such instant to the next. Samples for the tables of ranks are taken at minutes only.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel
from ifd_kernels.layout import DONE, SECOND_NS, Integer, Records
from ifd_kernels.ranks import Tally, count_levels
from ifd_kernels.score_state import (
    DIRTY,
    DIRTY_WEIGHED,
    HEAD,
    MARK,
    NEVER,
    NOW,
    TAIL,
    TAIL_NS,
    TAILS,
    Score,
)
from ifd_kernels.scoring import score_instant
from ifd_kernels.thresholds import log_evidence
from ifd_kernels.votes import note_flow
from ifd_kernels.weighing import begin_instant, sample_minute, weigh_dirty

__all__ = ["HANDOVER", "MARKED", "note_rows", "rescore_session"]

HANDOVER: Final = np.dtype(
    [
        ("instant_ns", "<i8"),
        ("second", "<i8"),
        ("bid_volume", "<i8"),  # contracts, new at the instant
        ("ask_volume", "<i8"),
        ("slot", "<i4"),
        ("moved", "i1"),
        ("twin_moved", "i1"),
        ("pad", "i1", (2,)),
    ]
)

# From an instant on, a slot has these quality marks.
MARKED: Final = np.dtype([("instant_ns", "<i8"), ("slot", "<i4"), ("marks", "<i4")])

# Places in `progress`.
TAKEN: Final = 0  # rows noted
SAMPLED_NS: Final = 1  # the minute sampled last
SHOWN: Final = 2  # rows of marks shown to the scorer
PENDING_NS: Final = 3  # an instant that rows were noted for and that may not be scored yet
PLACES: Final = 4

FOR_SIGNALS: Final = 0  # rows of SIGNAL, as live
FOR_SAMPLES: Final = 1  # residuals at minutes, into tally.residuals and tally.samples
FOR_EPISODES: Final = 2  # episodes at every instant, into tally.episodes
FOR_EVIDENCE: Final = 3  # rows of evidence, to be judged by many thresholds (thresholds.py)

MINUTE_NS: Final = 60 * SECOND_NS
EVERY: Final = 10  # minutes: strikes without flow are counted so often, at that weight


@kernel
def next_change(score: Score, rows: Records, row: int) -> int:
    """Return the next instant at which anything changes, NEVER if nothing will."""
    found = int(rows[row]["instant_ns"]) if row < rows.shape[0] else NEVER
    mask = score.log.shape[0] - 1
    for tail in range(TAILS):
        sequence = score.cursor[TAIL + tail]
        if sequence < score.cursor[HEAD]:
            leaves_ns = int(score.log[sequence & mask]["instant_ns"]) + TAIL_NS[tail]
            found = leaves_ns if leaves_ns < found else found
    return found


@kernel
def note_row(score: Score, identities: Records, rows: Records, row: int) -> int:
    """Hand over one row: what its bucket held before stands in the log."""
    entry = rows[row]
    slot, second = int(entry["slot"]), int(entry["second"])
    bid, ask = 0, 0
    sequence = score.newest[slot]
    while sequence >= score.cursor[TAIL + TAILS - 1]:
        earlier = score.log[sequence & (score.log.shape[0] - 1)]
        if earlier["instant_ns"] <= second * SECOND_NS:
            break
        if earlier["second"] == second:
            bid += int(earlier["bid_volume"])
            ask += int(earlier["ask_volume"])
        sequence = int(earlier["previous"])
    score.moved[slot] = entry["moved"]
    twin = int(identities[slot]["twin_slot"])
    if twin >= 0:
        score.moved[twin] = entry["twin_moved"]
    bid_after, ask_after = bid + int(entry["bid_volume"]), ask + int(entry["ask_volume"])
    now_ns = int(entry["instant_ns"])
    return note_flow(score, identities, slot, second, now_ns, bid, bid_after, ask, ask_after)


@kernel
def count_episodes(score: Score, identities: Records, tally: Tally) -> None:
    """Weigh what changed and count the episodes it opens, at every rank."""
    weigh_dirty(score, identities)
    now_ns = score.cursor[NOW]
    cooldown_ns = int(score.profile[0]["cooldown_ns"])
    for place in range(score.cursor[DIRTY]):
        slot = int(score.dirty[place])
        score.is_dirty[slot] = 0
        for side in range(2):
            count_levels(score, tally, slot, side, now_ns, cooldown_ns)
    score.cursor[DIRTY] = 0
    score.cursor[DIRTY_WEIGHED] = 0


@kernel
def sample_session(
    score: Score,
    identities: Records,
    rows: Records,
    stop_ns: Integer,
    tally: Tally,
    progress: NDArray[np.int64],
) -> int:
    """Sample the minutes up to `stop_ns`, each with all that was handed over by then.

    Votes leave their windows at minutes only: nothing looks at them in between.
    """
    while True:
        minute_ns = (progress[SAMPLED_NS] // MINUTE_NS + 1) * MINUTE_NS
        if minute_ns > stop_ns:
            return DONE
        while progress[TAKEN] < rows.shape[0] and rows[progress[TAKEN]]["instant_ns"] <= minute_ns:
            status = note_row(score, identities, rows, progress[TAKEN])
            if status != DONE:
                return status
            progress[TAKEN] += 1
        begin_instant(score, minute_ns)
        weight = EVERY if minute_ns // MINUTE_NS % EVERY == 0 else 0
        sample_minute(score, identities, tally, weight)
        progress[SAMPLED_NS] = minute_ns


@kernel
def note_rows(
    score: Score,
    identities: Records,
    rows: Records,
    stop: Integer,
    progress: NDArray[np.int64],
) -> int:
    """Hand over the rows up to `stop` and score nothing: identities change within an instant.

    Returns DONE, or NEED_VOTES: mend it and call again. O(rows).
    """
    while progress[TAKEN] < stop:
        status = note_row(score, identities, rows, progress[TAKEN])
        if status != DONE:
            return status
        progress[PENDING_NS] = rows[progress[TAKEN]]["instant_ns"]
        progress[TAKEN] += 1
    return DONE


@kernel
def show_marked(
    score: Score, marked: Records, now_ns: Integer, progress: NDArray[np.int64]
) -> None:
    """Give slots the marks they have at an instant."""
    while progress[SHOWN] < marked.shape[0]:
        row = marked[progress[SHOWN]]
        if row["instant_ns"] > now_ns:
            return
        score.marks[row["slot"]] = np.uint16(row["marks"])
        progress[SHOWN] += 1


@kernel
def rescore_session(
    score: Score,
    identities: Records,
    touch: Records,
    rows: Records,
    marked: Records,
    stop_ns: Integer,
    purpose: int,
    tally: Tally,
    progress: NDArray[np.int64],
) -> int:
    """Score the hand-overs `rows` (k,) of HANDOVER up to `stop_ns`, for a purpose FOR_*.

    The score stands at the session's open, or where the last call with this `progress` (PLACES,)
    left it. `marked` (m,) of MARKED. Returns DONE, or NEED_VOTES or NEED_SIGNALS: mend it and call
    again. O(k).
    """
    score.cursor[MARK] = NEVER  # mids are those the rows say
    if purpose == FOR_SAMPLES:
        return sample_session(score, identities, rows, stop_ns, tally, progress)
    while True:
        row = progress[TAKEN]
        now_ns = next_change(score, rows, row)
        if score.cursor[NOW] < progress[PENDING_NS] < now_ns:
            now_ns = progress[PENDING_NS]
        if score.cursor[DIRTY_WEIGHED] > 0:
            now_ns = score.cursor[NOW]  # it stopped because the signals' rows were full
        if now_ns > stop_ns:
            return DONE
        while row < rows.shape[0] and rows[row]["instant_ns"] == now_ns:
            status = note_row(score, identities, rows, row)
            if status != DONE:
                return status
            row += 1
            progress[TAKEN] = row
        if purpose == FOR_SIGNALS or purpose == FOR_EVIDENCE:
            show_marked(score, marked, now_ns, progress)
            if purpose == FOR_SIGNALS:
                status = score_instant(score, now_ns, identities, touch)
            else:
                status = log_evidence(score, now_ns, identities, touch)
            if status != DONE:
                return status
        else:
            begin_instant(score, now_ns)
            if purpose == FOR_EPISODES:
                count_episodes(score, identities, tally)
