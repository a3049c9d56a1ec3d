"""How every slot's mid moved, minute by minute: with the flow or not.

Both legs of a strike falling while sold is a volatility crush; both rising while bought is its
mirror. Mids are kept as bid + ask, in integers, at each 60 s mark; a move is the sign of the
newest mark's mid against that of five marks before. The log says each move of a strike whose two
legs trade, so that a session can be scored again from its log alone.
"""

from __future__ import annotations

from typing import Final

from ifd_kernels._jit import kernel
from ifd_kernels.layout import DONE, SECOND_NS, UNDEF_PRICE, Integer, Records
from ifd_kernels.score_state import MARK, MARKS_KEPT, SLOTS, Score
from ifd_kernels.votes import check_votes_room, note_flow

__all__ = ["falls_while_sold", "mark_mids", "middle"]

MARK_NS: Final = 60 * SECOND_NS
MID_LIMIT: Final = 2**61  # twice a price beyond it would overflow
BACK: Final = 5  # marks


@kernel
def middle(touch: Records, slot: int) -> int:
    """Return bid + ask of the slot, UNDEF_PRICE without both or beyond any price's bounds."""
    if touch[slot]["changes"] == 0:
        return UNDEF_PRICE
    bid = int(touch[slot]["bid_price_1e9"])
    ask = int(touch[slot]["ask_price_1e9"])
    if bid > MID_LIMIT or ask > MID_LIMIT or bid < -MID_LIMIT or ask < -MID_LIMIT:
        return UNDEF_PRICE
    return bid + ask


@kernel
def move_of(score: Score, mark: Integer, slot: int) -> int:
    """Return the sign of the mid's move over the five marks up to `mark`, 0 if unknown."""
    now = score.mids[mark & (MARKS_KEPT - 1), slot]
    then = score.mids[(mark - BACK) & (MARKS_KEPT - 1), slot]
    if then == UNDEF_PRICE or now == UNDEF_PRICE or now == then:
        return 0
    return 1 if now > then else -1


@kernel
def trades_lately(score: Score, slot: int) -> bool:
    """Return whether the slot has contracts in the 300 s window."""
    return score.volumes[slot, 0] + score.volumes[slot, 1] > 0


@kernel
def mark_mids(score: Score, instant_ns: Integer, identities: Records, touch: Records) -> int:
    """Keep all mids at each 60 s mark up to the instant, and log the moves. O(n) once a mark.

    No record was applied since the last instant that lay before a skipped mark, so what stands
    now stood there as well. Returns DONE, or NEED_VOTES with nothing changed.
    """
    mark = instant_ns // MARK_NS
    last = score.cursor[MARK]
    if mark <= last:
        return DONE
    status = check_votes_room(score, score.cursor[SLOTS])
    if status != DONE:
        return status
    first = last + 1 if last >= 0 and mark - last < MARKS_KEPT else mark - MARKS_KEPT + 1
    if last < 0:
        first = mark
    for kept in range(first, mark + 1):
        row = kept & (MARKS_KEPT - 1)
        for slot in range(score.cursor[SLOTS]):
            score.mids[row, slot] = middle(touch, slot)
    for slot in range(score.cursor[SLOTS]):
        score.moved[slot] = move_of(score, mark, slot)
    score.cursor[MARK] = mark
    for slot in range(score.cursor[SLOTS]):
        twin = int(identities[slot]["twin_slot"])
        if twin > slot and trades_lately(score, slot) and trades_lately(score, twin):
            same = score.moved[slot] == score.logged[slot]
            if not (same and score.moved[twin] == score.logged[twin]):
                second = instant_ns // SECOND_NS - 1
                note_flow(score, identities, slot, second, instant_ns, 0, 0, 0, 0)
    return DONE


@kernel
def falls_while_sold(score: Score, slot: int, side: int) -> bool:
    """Return whether the slot's mid moved with the side over the last five marks.

    And the slot's own votes of 300 s lean that way: falling while sold, rising while bought.
    """
    bid = score.windows[slot, 1, 0]
    ask = score.windows[slot, 1, 1]
    if side == 1:
        return score.moved[slot] > 0 and ask > bid
    return score.moved[slot] < 0 and bid > ask
