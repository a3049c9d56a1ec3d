"""Companions: options of a slot's expiry and the other type, which trade its side along with it.

Who buys volatility buys calls and puts, who sells it sells both: legs of a strangle in the same
seconds, legs of several strikes over the same minutes. Calls bought while puts are sold is
direction, and counts as nothing here. Two facts say so: the share of a slot's votes in step with
one companion, beyond chance, and how strong the evidence of that side is in its companions. Neither
knows what the profile asks: a stricter one would see fewer companions, and so find fewer makers.
"""

from __future__ import annotations

from typing import Final

from ifd_kernels._jit import kernel
from ifd_kernels.evidence import bounded
from ifd_kernels.layout import SECOND_NS, Integer, Records
from ifd_kernels.score_state import (
    ANY_RANK,
    ANY_WINDOW,
    HEAD,
    SLOTS,
    TAIL,
    TAIL_OF_WINDOW,
    TAILS,
    WINDOWS_S,
    Score,
)
from ifd_kernels.votes import can_score

__all__ = ["companion_decades", "in_step_share"]

TOGETHER_NS: Final = SECOND_NS  # hand-overs of one second's flow lie so close: the lateness
MOST_VOTES: Final = 64  # looked at, the newest: a busy strike costs no more than so many
DECADES_OF_CHOICE: Final = 1.5  # what being the second of some 75 companions gives by chance


@kernel
def is_companion(identities: Records, slot: Integer, other: Integer) -> bool:
    """Return whether the other slot is an option of the other type, same expiry and future."""
    one, two = identities[slot], identities[other]
    if one["kind"] == two["kind"] or one["expiration_ns"] != two["expiration_ns"]:
        return False
    return one["underlying_slot"] == two["underlying_slot"] and can_score(identities, other)


@kernel
def count_steps(score: Score, identities: Records, slot: int, side: int, sequence: int) -> None:
    """Count a step for each companion that has the side in the second of the entry `sequence`.

    Among what was handed over within TOGETHER_NS of it. O(entries handed over then).
    """
    mask = score.log.shape[0] - 1
    own = score.log[sequence & mask]
    second, instant_ns = int(own["second"]), int(own["instant_ns"])
    place = sequence
    while place > score.cursor[TAIL + TAILS - 1]:
        if score.log[(place - 1) & mask]["instant_ns"] < instant_ns - TOGETHER_NS:
            break
        place -= 1
    while place < score.cursor[HEAD]:
        entry = score.log[place & mask]
        if entry["instant_ns"] > instant_ns + TOGETHER_NS:
            break
        if entry["second"] == second and (int(entry["sides"]) >> side) & 1:
            other = int(entry["slot"])
            known = score.steps[other, 0] > 0 and score.steps[other, 1] == second
            if not known and is_companion(identities, slot, other):
                score.steps[other, 0] += 1
                score.steps[other, 1] = second
        place += 1


@kernel
def in_step_share(score: Score, identities: Records, slot: int, side: int) -> float:
    """Return the largest share of the side's votes in step with one companion, beyond chance.

    The newest votes of cap 1 in the window of the side's strongest evidence, whatever the profile
    asks of it (300 s if there is none). By chance, so many fall into the companion's seconds as its
    votes fill of that window. O(n + entries around).
    """
    window = int(score.best[slot, side, ANY_WINDOW])
    mask = score.log.shape[0] - 1
    sequence = score.newest[slot]
    own = 0
    while sequence >= score.cursor[TAIL + TAIL_OF_WINDOW[window]] and own < MOST_VOTES:
        entry = score.log[sequence & mask]
        if entry["votes"][side] > 0:
            own += 1
            count_steps(score, identities, slot, side, sequence)
        sequence = int(entry["previous"])
    most = 0.0
    for other in range(score.cursor[SLOTS]):
        steps = score.steps[other, 0]
        if steps > 0:
            chance = own * float(score.windows[other, window, side]) / WINDOWS_S[window]
            most = max(most, (steps - chance) / (own + 2.0))
            score.steps[other, 0] = 0
    return bounded(most, 0.0, 1.0)


@kernel
def companion_decades(score: Score, identities: Records, slot: int, side: int) -> float:
    """Return how rare the same side's evidence is in companions, in decades. O(n).

    That of the other leg of the strike, or the second strongest of all, less what being chosen
    out of so many gives: one other metaorder at the same time is no companion.
    """
    first, second = 0.0, 0.0
    for other in range(score.cursor[SLOTS]):
        rank = score.best[other, side, ANY_RANK]
        if rank > second and is_companion(identities, slot, other):
            if rank > first:
                first, second = rank, first
            else:
                second = rank
    found = max(second - DECADES_OF_CHOICE, 0.0)
    twin = int(identities[slot]["twin_slot"])
    if twin >= 0 and can_score(identities, twin):
        found = max(found, score.best[twin, side, ANY_RANK])
    return float(found)
