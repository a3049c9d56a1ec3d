"""The scoring instant of a session that is sealed to be scored later: nothing is weighed.

What a later scorer needs besides the hand-overs are the quality marks of the slots it may judge.
Only slots whose facts changed are judged, so marks are looked at there alone, and a row is logged
where they are not what the row before said: a slot's marks are 0 at its session's open.
"""

from __future__ import annotations

from ifd_kernels._jit import kernel
from ifd_kernels.layout import DONE, NEED_SIGNALS, Integer, Records
from ifd_kernels.mids import mark_mids
from ifd_kernels.score_state import DIRTY, DIRTY_DONE, NOW, ROWS, Score
from ifd_kernels.scoring import marks_of
from ifd_kernels.weighing import begin_instant

__all__ = ["seal_instant"]


@kernel
def seal_instant(score: Score, instant_ns: Integer, identities: Records, touch: Records) -> int:
    """Let flow grow old as scoring does; log the marks of slots whose facts changed.

    Rows of `signals` have `instant_ns`, `slot` and `marks` alone. Returns DONE, or NEED_VOTES, or
    NEED_SIGNALS with slots left to look at: take the rows or grow `signals`, and call again with
    the same instant. O(slots changed).
    """
    if instant_ns != score.cursor[NOW]:
        status = mark_mids(score, instant_ns, identities, touch)
        if status != DONE:
            return status
        begin_instant(score, instant_ns)
    while score.cursor[DIRTY_DONE] < score.cursor[DIRTY]:
        row = score.cursor[ROWS]
        if row == score.signals.shape[0]:
            return NEED_SIGNALS
        slot = int(score.dirty[score.cursor[DIRTY_DONE]])
        score.cursor[DIRTY_DONE] += 1
        score.is_dirty[slot] = 0
        marks = marks_of(score, slot, identities, touch)
        if marks != int(score.told_marks[slot]):
            score.told_marks[slot] = marks
            out = score.signals[row]
            out["instant_ns"] = instant_ns
            out["slot"] = slot
            out["marks"] = marks
            score.cursor[ROWS] = row + 1
    score.cursor[DIRTY] = 0
    score.cursor[DIRTY_DONE] = 0
    return DONE
