"""Rolling votes of every slot: what was handed to the scorer, and when it leaves which window.

A vote is a contract, at most `cap` (A 1, C 10) a clock second and side; channel B has one vote a
side in `grain_s` seconds of the clock, where the strike is slow. Each (slot, second) with
new contracts appends one entry to a log. The log's tails follow at fixed ages; an entry a tail
passes leaves a window, so an instant costs what changed and nothing is ever summed again. An
entry handed over at t counts in a window of w seconds while now - w < t.

A side's votes of one second are dropped (and counted as paired) when the twin, the other leg of
the same strike, has flow on the same side in that second: a straddle is no one-sided flow.
"""

from __future__ import annotations

import numpy as np

from ifd_kernels._jit import kernel
from ifd_kernels.layout import (
    DONE,
    KIND_CALL,
    KIND_PUT,
    NEED_VOTES,
    SECOND_NS,
    UNDEF_PRICE,
    Integer,
    Records,
)
from ifd_kernels.score_state import (
    BLOCKS,
    COLUMNS,
    DIRTY,
    DIRTY_DONE,
    DIRTY_WEIGHED,
    HEAD,
    KEPT,
    LEANT,
    MARK,
    NEVER,
    NOW,
    OBSERVED,
    OPEN,
    SAID_SECONDS,
    SAID_SLOTS,
    SLOTS,
    TAIL,
    TAIL_NS,
    TAIL_OF_WINDOW,
    TAILS,
    Score,
)

__all__ = [
    "advance_tails",
    "can_score",
    "check_votes_room",
    "mark_all_dirty",
    "note_flow",
    "open_session",
]


@kernel
def oldest_kept(score: Score) -> int:
    """Return the sequence number of the oldest entry that is still needed."""
    oldest = score.cursor[TAIL + TAILS - 1]
    return oldest if oldest < score.cursor[KEPT] else score.cursor[KEPT]


@kernel
def check_votes_room(score: Score, entries: int) -> int:
    """Return DONE if the log takes `entries` more, else NEED_VOTES: take or grow, call again."""
    used = score.cursor[HEAD] - oldest_kept(score)
    if used + entries > score.log.shape[0]:
        return NEED_VOTES
    return DONE


@kernel
def touch_slot(score: Score, slot: int) -> None:
    """Have the slot recomputed at the next instant."""
    if score.is_dirty[slot] == 0:
        score.is_dirty[slot] = 1
        score.dirty[score.cursor[DIRTY]] = slot
        score.cursor[DIRTY] += 1


@kernel
def mark_all_dirty(score: Score) -> None:
    """Have all slots recomputed at the next instant. O(n)."""
    for slot in range(score.cursor[SLOTS]):
        touch_slot(score, slot)


@kernel
def add_votes(score: Score, index: int, window: int, sign: int) -> None:
    """Add the votes of the entry at `index` to a window, or take them out of it (sign -1)."""
    entry = score.log[index]
    slot = int(entry["slot"])
    votes = entry["votes"]
    for column in range(COLUMNS):
        score.windows[slot, window, column] += sign * votes[column]
    chain = int(entry["chain"])
    if chain >= 0:
        score.chain[chain, window, 0] += sign * votes[0]
        score.chain[chain, window, 1] += sign * votes[1]


@kernel
def add_block(score: Score, index: int, block: int, sign: int) -> None:
    """Add the votes of the entry at `index` to a 60 s block, or take them out of it."""
    entry = score.log[index]
    slot = int(entry["slot"])
    score.blocks[slot, block, 0] += sign * entry["votes"][0]
    score.blocks[slot, block, 1] += sign * entry["votes"][1]


@kernel
def add_today(score: Score, index: int, sign: int) -> None:
    """Add the votes of the entry at `index` to today's level, or take them out of it."""
    entry = score.log[index]
    slot = int(entry["slot"])
    votes = entry["votes"]
    score.today[slot, 0] += sign * (int(votes[0]) + votes[1])
    score.today[slot, 1] += sign * (int(votes[2]) + votes[3])
    score.today[slot, 2] += sign * (int(votes[4]) + votes[5])


@kernel
def add_report(score: Score, index: int, sign: int) -> None:
    """Add what is reported of the 300 s window: contracts, and the votes that were dropped."""
    entry = score.log[index]
    slot = int(entry["slot"])
    score.volumes[slot, 0] += sign * entry["bid_volume"]
    score.volumes[slot, 1] += sign * entry["ask_volume"]
    score.paired[slot] += sign * (int(entry["dropped"][0]) + entry["dropped"][1])


@kernel
def add_everywhere(score: Score, sequence: int, sign: int) -> None:
    """Add an entry of any age to all it counts in, or take it out of all."""
    index = sequence & (score.log.shape[0] - 1)
    block = 0
    while block < BLOCKS and sequence < score.cursor[TAIL + block]:
        block += 1
    if block < BLOCKS:
        add_block(score, index, block, sign)
        add_report(score, index, sign)
    for window in range(4):
        if sequence >= score.cursor[TAIL + TAIL_OF_WINDOW[window]]:
            add_votes(score, index, window, sign)
    if sequence < score.cursor[TAIL + 6]:
        add_today(score, index, sign)


@kernel
def first_of_grain(score: Score, slot: int, second: Integer, grain_s: int, side: int) -> int:
    """Return the slot's first entry with a vote of the side in the same `grain_s` seconds, or -1.

    Walks back over the entries that were handed over after those seconds began.
    """
    found = -1
    mask = score.log.shape[0] - 1
    sequence = score.newest[slot]
    part = second // grain_s
    while sequence >= score.cursor[TAIL + TAILS - 1]:
        entry = score.log[sequence & mask]
        if entry["instant_ns"] <= part * grain_s * SECOND_NS:
            break
        same = entry["grain_s"] == grain_s and entry["second"] // grain_s == part
        if same and entry["votes"][side] > 0:
            found = sequence
        sequence = int(entry["previous"])
    return found


@kernel
def drop_side(score: Score, sequence: int, side: int) -> None:
    """Drop one side's votes of an entry, wherever they count.

    A vote of channel B goes to the first other entry of its seconds, if there is one.
    """
    add_everywhere(score, sequence, -1)
    mask = score.log.shape[0] - 1
    entry = score.log[sequence & mask]
    entry["dropped"][side] += entry["votes"][side]
    carried = entry["votes"][4 + side]
    entry["votes"][side] = 0
    entry["votes"][2 + side] = 0
    entry["votes"][4 + side] = 0
    add_everywhere(score, sequence, 1)
    if carried == 0:
        return
    slot, second = int(entry["slot"]), int(entry["second"])
    heir = first_of_grain(score, slot, second, int(entry["grain_s"]), side)
    if heir >= 0:
        add_everywhere(score, heir, -1)
        score.log[heir & mask]["votes"][4 + side] = 1
        add_everywhere(score, heir, 1)


@kernel
def pair_sides(score: Score, slot: int, second: Integer, sides: int) -> int:
    """Drop the slot's votes of that second on `sides`; return the sides it had flow on.

    Walks back the slot's entries that were handed over after the second began: no older one can
    hold its flow.
    """
    found = 0
    mask = score.log.shape[0] - 1
    sequence = score.newest[slot]
    while sequence >= score.cursor[TAIL + TAILS - 1]:
        entry = score.log[sequence & mask]
        if entry["instant_ns"] <= second * SECOND_NS:
            break
        if entry["second"] == second:
            found |= int(entry["sides"])
            for side in range(2):
                if entry["votes"][2 + side] > 0 and (sides >> side) & 1:  # in parts: cap 1 may be 0
                    drop_side(score, sequence, side)
        sequence = int(entry["previous"])
    return found


@kernel
def capped(before: int, after: int, cap: int) -> int:
    """Return the new votes of a bucket whose contracts grew from `before` to `after`."""
    return (after if after < cap else cap) - (before if before < cap else cap)


@kernel
def can_score(identities: Records, slot: Integer) -> bool:
    """Return whether the slot is a known option that still trades under its id."""
    kind = identities[slot]["kind"]
    known = identities[slot]["mapped"] == 1 and identities[slot]["retired"] == 0
    return known and (kind == KIND_CALL or kind == KIND_PUT)


@kernel
def note_moves(score: Score, sequence: int, slot: int, twin: int) -> None:
    """Write how the mids of both legs moved into the entry at `sequence`."""
    entry = score.log[sequence & (score.log.shape[0] - 1)]
    entry["moved"] = score.moved[slot]
    entry["twin_moved"] = score.moved[twin] if twin >= 0 else 0
    score.logged[slot] = score.moved[slot]
    if twin >= 0:
        score.logged[twin] = score.moved[twin]


@kernel
def say_sides(score: Score, slot: int, second: Integer, sides: int) -> None:
    """Note that a slot has contracts on `sides` in a second, for whoever asks who else had."""
    place = second & (SAID_SECONDS - 1)
    if score.said_second[place] != second:
        score.said_second[place] = second
        for word in range(score.said.shape[0]):
            score.said[word, place, 0] = 0
            score.said[word, place, 1] = 0
    bit = np.int64(1) << np.int64(slot % SAID_SLOTS)
    for side in range(2):
        if (sides >> side) & 1:
            score.said[slot // SAID_SLOTS, place, side] |= bit


@kernel
def note_flow(
    score: Score,
    identities: Records,
    slot: int,
    second: Integer,
    instant_ns: Integer,
    bid_before: int,
    bid_after: int,
    ask_before: int,
    ask_after: int,
) -> int:
    """Take the new contracts of one (slot, second) bucket, as known at `instant_ns`.

    Instants never fall, and lie after the second's start. Returns DONE, or NEED_VOTES with
    nothing changed. O(1).
    """
    sequence = score.cursor[HEAD]
    if sequence - oldest_kept(score) >= score.log.shape[0]:
        return NEED_VOTES
    index = sequence & (score.log.shape[0] - 1)
    entry = score.log[index]
    entry["instant_ns"] = instant_ns
    entry["second"] = second
    entry["previous"] = score.newest[slot]
    entry["slot"] = slot
    entry["bid_volume"] = bid_after - bid_before
    entry["ask_volume"] = ask_after - ask_before
    entry["votes"][0] = capped(bid_before, bid_after, 1)
    entry["votes"][1] = capped(ask_before, ask_after, 1)
    entry["votes"][2] = capped(bid_before, bid_after, 10)
    entry["votes"][3] = capped(ask_before, ask_after, 10)
    entry["dropped"][0] = 0
    entry["dropped"][1] = 0
    grain_s = int(score.grain_s[slot])
    entry["grain_s"] = grain_s
    for side in range(2):
        alone = False
        if grain_s > 0 and entry["votes"][side] > 0:
            alone = first_of_grain(score, slot, second, grain_s, side) < 0
        entry["votes"][4 + side] = 1 if alone else 0
    twin = int(identities[slot]["twin_slot"])
    note_moves(score, sequence, slot, twin)
    sides = (1 if bid_after > bid_before else 0) | (2 if ask_after > ask_before else 0)
    entry["sides"] = sides
    say_sides(score, slot, second, sides)
    entry["chain"] = -1
    if can_score(identities, slot):
        entry["chain"] = int(identities[slot]["kind"]) - KIND_CALL
    score.newest[slot] = sequence
    score.cursor[HEAD] = sequence + 1
    score.cursor[LEANT] = 0
    add_everywhere(score, sequence, 1)
    touch_slot(score, slot)
    if twin >= 0:
        found = pair_sides(score, twin, second, sides)
        touch_slot(score, twin)
        if found & sides:
            pair_sides(score, slot, second, found & sides)
    return DONE


@kernel
def pass_tail(score: Score, tail: int, index: int) -> None:
    """Move the entry at `index` over a tail: out of one block or window, into the next."""
    if tail < BLOCKS:
        add_block(score, index, tail, -1)
        if tail < BLOCKS - 1:
            add_block(score, index, tail + 1, 1)
        else:
            add_report(score, index, -1)
    if tail == 0:
        add_votes(score, index, 0, -1)
    elif tail >= BLOCKS - 1 and tail < TAILS - 1:
        add_votes(score, index, tail - BLOCKS + 2, -1)
    if tail == TAILS - 2:
        add_today(score, index, 1)
    elif tail == TAILS - 1:
        add_today(score, index, -1)


@kernel
def advance_tails(score: Score, instant_ns: Integer) -> None:
    """Let every entry grow old up to `instant_ns`. O(entries that pass a tail).

    An entry without contracts changes no facts as it ages: which leg it stands at says nothing.
    """
    mask = score.log.shape[0] - 1
    for tail in range(TAILS):
        limit_ns = instant_ns - TAIL_NS[tail]
        sequence = score.cursor[TAIL + tail]
        while sequence < score.cursor[HEAD]:
            index = sequence & mask
            if score.log[index]["instant_ns"] > limit_ns:
                break
            if score.log[index]["sides"] != 0:
                pass_tail(score, tail, index)
                touch_slot(score, int(score.log[index]["slot"]))
            sequence += 1
        score.cursor[TAIL + tail] = sequence


@kernel
def open_session(score: Score, open_ns: int, observed_ns: int) -> None:
    """Forget all flow, mids and episodes: no window spans a break. O(n)."""
    score.windows[:] = 0
    score.blocks[:] = 0
    score.today[:] = 0
    score.volumes[:] = 0
    score.paired[:] = 0
    score.chain[:] = 0
    score.newest[:] = -1
    score.said_second[:] = -1
    score.is_dirty[:] = 0
    score.mids[:] = UNDEF_PRICE
    score.moved[:] = 0
    score.logged[:] = 0
    score.told_marks[:] = 0
    score.active[:] = 0
    score.best[:] = 0.0
    score.ended_ns[:] = -NEVER
    score.reached[:] = 0
    score.due_ns[:] = -NEVER
    for tail in range(TAILS):
        score.cursor[TAIL + tail] = score.cursor[HEAD]
    score.cursor[DIRTY] = 0
    score.cursor[DIRTY_DONE] = 0
    score.cursor[DIRTY_WEIGHED] = 0
    score.cursor[NOW] = -1
    score.cursor[OPEN] = open_ns
    score.cursor[MARK] = -1
    score.cursor[LEANT] = 0
    score.cursor[OBSERVED] = observed_ns if observed_ns > open_ns else open_ns
