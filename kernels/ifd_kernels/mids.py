"""Mids of every slot at the last minutes' marks: the price, moving with the flow or not.

Both legs of a strike falling while sold is a volatility crush; both rising while bought is its
mirror. Mids are kept as bid + ask, in integers.
"""

from __future__ import annotations

from typing import Final

from ifd_kernels._jit import kernel
from ifd_kernels.layout import SECOND_NS, UNDEF_PRICE, Integer, Records
from ifd_kernels.votes import MARK, MARKS_KEPT, SLOTS, Score

__all__ = ["falls_while_sold", "mark_mids", "middle"]

MARK_NS: Final = 60 * SECOND_NS
MID_LIMIT: Final = 2**61  # twice a price beyond it would overflow
BACK: Final = 5  # marks: the mid of 300 to 360 s ago


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
def mark_mids(score: Score, instant_ns: Integer, touch: Records) -> None:
    """Keep all mids at each 60 s mark up to the instant. O(n) once a mark.

    No record was applied since the last instant that lay before a skipped mark, so what stands
    now stood there as well.
    """
    mark = instant_ns // MARK_NS
    last = score.cursor[MARK]
    if mark <= last:
        return
    first = last + 1 if last >= 0 and mark - last < MARKS_KEPT else mark - MARKS_KEPT + 1
    if last < 0:
        first = mark
    for kept in range(first, mark + 1):
        row = kept & (MARKS_KEPT - 1)
        for slot in range(score.cursor[SLOTS]):
            score.mids[row, slot] = middle(touch, slot)
    score.cursor[MARK] = mark


@kernel
def falls_while_sold(score: Score, slot: int, touch: Records, side: int) -> bool:
    """Return whether the mid moved with the side since the mark five marks ago.

    And the slot's own votes of 300 s lean that way: falling while sold, rising while bought.
    """
    then = score.mids[(score.cursor[MARK] - BACK) & (MARKS_KEPT - 1), slot]
    now = middle(touch, slot)
    if then == UNDEF_PRICE or now == UNDEF_PRICE:
        return False
    bid = score.windows[slot, 1, 0]
    ask = score.windows[slot, 1, 1]
    if side == 1:
        return now > then and ask > bid
    return now < then and bid > ask
