"""Many thresholds over one session: evidence is weighed once, each set judges what was weighed.

Of a profile only `min_volume_concentration` changes what is weighed. So a session is walked once
as scoring walks it, and every side that some profile could make a candidate, or could have an
episode on, leaves a row in the order in which it would be judged. A set of thresholds then judges
and follows episodes over these rows alone, a small part of all that was weighed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ifd_kernels._jit import kernel
from ifd_kernels.layout import DONE, NEED_SIGNALS, Integer, Records
from ifd_kernels.neighbours import sides_as_strong
from ifd_kernels.score_state import (
    BEST_RANK,
    DIRTY,
    DIRTY_DONE,
    DIRTY_WEIGHED,
    FAMILY,
    NOW,
    ROWS,
    Score,
)
from ifd_kernels.scoring import fill_evidence, is_rare, settle_side
from ifd_kernels.verdict import judge_evidence, judge_thresholds
from ifd_kernels.weighing import begin_instant, weigh_dirty

__all__ = ["judge_log", "log_evidence"]


@kernel
def log_side(score: Score, slot: int, side: int, identities: Records, touch: Records) -> None:
    """Append a row of evidence of one side, if any profile could have to judge it.

    `candidate`: it could be one; `opens`: its evidence is rare; `q`: options over sides as strong.
    A side stays `active` while some profile's episode could be on.
    """
    row = score.cursor[ROWS]
    out = score.signals[row]
    rank = score.best[slot, side, BEST_RANK]
    possible = False
    if rank >= score.limits[0]["least_rank"]:
        possible = fill_evidence(score, slot, side, identities, touch, row)
    if not possible and score.active[slot, side] == 0:
        return
    rare = is_rare(score, slot, side)
    if possible:
        lookback = float(score.profile[0]["lookback_days"])
        judge_evidence(score.signals, row, score.expected, slot, lookback, score.limits)
        out["q"] = float(score.cursor[FAMILY]) / sides_as_strong(score, rank)
    out["instant_ns"] = score.cursor[NOW]
    out["slot"] = slot
    out["side"] = 2 * side - 1
    out["candidate"] = 1 if possible else 0
    out["opens"] = 1 if rare else 0
    score.active[slot, side] = 1 if possible or rare else 0
    score.cursor[ROWS] = row + 1


@kernel
def log_evidence(score: Score, instant_ns: Integer, identities: Records, touch: Records) -> int:
    """Weigh all slots whose facts changed, as scoring does, and append rows of evidence.

    Returns DONE, or NEED_SIGNALS with slots left to look at: take the rows or grow `signals`, and
    call again with the same instant. O(slots changed).
    """
    if instant_ns != score.cursor[NOW]:
        begin_instant(score, instant_ns)
    weigh_dirty(score, identities)
    while score.cursor[DIRTY_DONE] < score.cursor[DIRTY]:
        if score.cursor[ROWS] + 2 > score.signals.shape[0]:
            return NEED_SIGNALS
        slot = int(score.dirty[score.cursor[DIRTY_DONE]])
        score.cursor[DIRTY_DONE] += 1
        score.is_dirty[slot] = 0
        for side in range(2):
            log_side(score, slot, side, identities, touch)
    score.cursor[DIRTY] = 0
    score.cursor[DIRTY_DONE] = 0
    score.cursor[DIRTY_WEIGHED] = 0
    return DONE


@kernel
def judge_log(score: Score, log: Records, taken: NDArray[np.int64]) -> int:
    """Judge rows of evidence (k,) from taken[0] on by `score.profile`; append signals.

    `score` needs no flow, only its limits and the episodes it follows. Returns DONE, or
    NEED_SIGNALS: take the rows or grow `signals`, and call again. O(k).
    """
    while taken[0] < log.shape[0]:
        row = score.cursor[ROWS]
        if row == score.signals.shape[0]:
            return NEED_SIGNALS
        entry = log[taken[0]]
        candidate = False
        score.cursor[NOW] = entry["instant_ns"]
        if entry["candidate"] == 1:
            score.signals[row] = entry
            judge_thresholds(score.signals, row, score.profile, score.limits)
            candidate = bool(score.signals[row]["candidate"] == 1)
        side = (int(entry["side"]) + 1) // 2
        rare = bool(entry["opens"] == 1)
        settle_side(score, int(entry["slot"]), side, candidate, rare, float(entry["q"]))
        taken[0] += 1
    return DONE
