"""Companions: options of a slot's expiry and the other type, which trade its side along with it.

Who buys volatility buys calls and puts, who sells it sells both: legs of a strangle in the same
seconds, legs of several strikes over the same minutes. Calls bought while puts are sold is
direction, and counts as nothing here. Two facts say so: the share of a slot's votes in step with
one companion, beyond chance, and how strong the evidence of that side is in its companions. Neither
knows what the profile asks: a stricter one would see fewer companions, and so find fewer makers.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np

from ifd_kernels._jit import kernel
from ifd_kernels.evidence import bounded
from ifd_kernels.layout import Integer, Records
from ifd_kernels.score_state import (
    ANY_RANK,
    ANY_WINDOW,
    MOST_VOTES,
    SAID_SECONDS,
    SAID_SLOTS,
    SLOTS,
    TAIL,
    TAIL_OF_WINDOW,
    WINDOWS_S,
    Score,
)
from ifd_kernels.votes import can_score

__all__ = ["companion_decades", "in_step_share"]

Planes: TypeAlias = tuple[np.int64, np.int64, np.int64, np.int64, np.int64, np.int64, np.int64]

DECADES_OF_CHOICE: Final = 1.5  # what being the second of some 75 companions gives by chance


@kernel
def is_companion(identities: Records, slot: Integer, other: Integer) -> bool:
    """Return whether the other slot is an option of the other type, same expiry and future."""
    one, two = identities[slot], identities[other]
    if one["kind"] == two["kind"] or one["expiration_ns"] != two["expiration_ns"]:
        return False
    return one["underlying_slot"] == two["underlying_slot"] and can_score(identities, other)


@kernel
def find_seconds(score: Score, slot: int, side: int, window: int) -> int:
    """Write into `steps` where the seconds of the side's newest votes stand; return how many."""
    mask = score.log.shape[0] - 1
    sequence = score.newest[slot]
    own = 0
    while sequence >= score.cursor[TAIL + TAIL_OF_WINDOW[window]] and own < MOST_VOTES:
        entry = score.log[sequence & mask]
        if entry["votes"][side] > 0:
            score.steps[own] = entry["second"] & (SAID_SECONDS - 1)
            own += 1
        sequence = int(entry["previous"])
    return own


@kernel
def count_steps(score: Score, word: int, side: int, own: int) -> Planes:
    """Return in how many of the `own` seconds each of a word's 64 slots has the side.

    As binary digits, one plane each: bit b of plane k is digit k of the count of slot b. Adding a
    second to 64 counts at once takes about two steps, as a carry seldom goes far.
    """
    said = score.said[word]
    ones, twos, fours, eights = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    many, more, most = np.int64(0), np.int64(0), np.int64(0)
    for number in range(own):
        carry = said[score.steps[number], side]
        carry, ones = carry & ones, carry ^ ones
        carry, twos = carry & twos, carry ^ twos
        if carry != 0:
            carry, fours = carry & fours, carry ^ fours
            carry, eights = carry & eights, carry ^ eights
            if carry != 0:
                carry, many = carry & many, carry ^ many
                carry, more = carry & more, carry ^ more
                most ^= carry
    return ones, twos, fours, eights, many, more, most


@kernel
def steps_of(planes: Planes, bit: int) -> int:
    """Return the count of one slot of a word."""
    steps = 0
    for digit in range(7):
        steps += int(planes[digit] >> bit & 1) << digit
    return steps


@kernel
def in_step_share(score: Score, identities: Records, slot: int, side: int) -> float:
    """Return the largest share of the side's votes in step with one companion, beyond chance.

    The newest votes of cap 1 in the window of the side's strongest evidence, whatever the profile
    asks of it (300 s if there is none). By chance, so many fall into the companion's seconds as its
    votes fill of that window. O(n), 64 slots at once. A walk over all that was handed over around
    each vote gave the same, and was most of an instant where all strikes trade each second.
    """
    window = int(score.best[slot, side, ANY_WINDOW])
    own = find_seconds(score, slot, side, window)
    most = 0.0
    if own == 0:
        return most
    slots = score.cursor[SLOTS]
    for word in range((slots + SAID_SLOTS - 1) // SAID_SLOTS):
        planes = count_steps(score, word, side, own)
        for bit in range(min(SAID_SLOTS, slots - word * SAID_SLOTS)):
            steps = steps_of(planes, bit)
            if steps <= most * (own + 2.0):  # chance takes away: it can't be the largest
                continue
            other = word * SAID_SLOTS + bit
            chance = own * float(score.windows[other, window, side]) / WINDOWS_S[window]
            share = (steps - chance) / (own + 2.0)
            if share > most and is_companion(identities, slot, other):
                most = share
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
