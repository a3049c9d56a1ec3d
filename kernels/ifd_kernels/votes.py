"""Rolling votes of every slot: what was handed to the scorer, and when it leaves which window.

A vote is a contract, at most `cap` (1 or 10) a clock second and side. Each (slot, second) with
new contracts appends one entry to a log. The log's tails follow at fixed ages; an entry a tail
passes leaves a window, so an instant costs what changed and nothing is ever summed again. An
entry handed over at t counts in a window of w seconds while now - w < t.

A side's votes of one second are dropped (and counted as paired) when the twin, the other leg of
the same strike, has flow on the same side in that second: a straddle is no one-sided flow.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

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

__all__ = [
    "VOTE",
    "Score",
    "advance_tails",
    "can_score",
    "check_votes_room",
    "mark_all_dirty",
    "note_flow",
    "open_session",
]

# One (slot, second) bucket's new flow at one instant.
VOTE: Final = np.dtype(
    [
        ("instant_ns", "<i8"),  # when it was handed over
        ("second", "<i8"),  # of its bucket, since the epoch
        ("previous", "<i8"),  # sequence number of the slot's entry before it, -1: none
        ("bid_volume", "<i8"),  # contracts
        ("ask_volume", "<i8"),
        ("slot", "<i4"),
        ("votes", "i1", (4,)),  # BID_1, ASK_1, BID_10, ASK_10; what the pair filter left
        ("dropped", "i1", (2,)),  # BID, ASK: votes of cap 1 the pair filter dropped
        ("sides", "i1"),  # SIDE bits that had contracts
        ("chain", "i1"),  # 0 calls, 1 puts, -1 neither: whose market it counts in
        ("pad", "i1", (4,)),
    ]
)

WINDOWS_S: Final = (60, 300, 900, 1800)
TAIL_NS: Final = (
    60 * SECOND_NS,
    120 * SECOND_NS,
    180 * SECOND_NS,
    240 * SECOND_NS,
    300 * SECOND_NS,
    900 * SECOND_NS,
    1800 * SECOND_NS,
    7200 * SECOND_NS,
)
TAILS: Final = 8
TAIL_OF_WINDOW: Final = (0, 4, 5, 6)
BLOCKS: Final = 5  # of 60 s
MARKS_KEPT: Final = 8

# Score.cursor, int64
TAIL: Final = 0  # ... TAIL + 7: sequence number of the oldest entry younger than TAIL_NS
HEAD: Final = 8  # sequence number of the next entry
DIRTY: Final = 9  # slots in Score.dirty
DIRTY_DONE: Final = 10  # of them, scored at the instant at hand
NOW: Final = 11  # the instant at hand, ns
OPEN: Final = 12  # the session's open, ns
MARK: Final = 13  # last 60 s mark whose mids are kept, -1: none
FAMILY: Final = 14  # options that can be scored
ROWS: Final = 15  # rows in Score.signals
CANDIDATES: Final = 16  # counted: episodes opened
ALERTS: Final = 17
EVALUATIONS: Final = 18  # counted: slots recomputed
SLOTS: Final = 19  # instrument slots in use
OBSERVED: Final = 20  # the session's first instant, ns; -1: none yet
CURSORS: Final = 21


class Score(NamedTuple):
    """State, inputs and output of the scorer: n slots.

    `windows` and `blocks` hold votes after the pair filter, by window and column of VOTE, or by
    60 s block and side; `volumes` and `paired` are of the 300 s window; `today` holds the votes
    (both sides, caps 1 and 10) of the 90 minutes before the longest window.
    """

    log: Records  # (capacity,) VOTE, capacity a power of two
    windows: NDArray[np.int32]  # (n, 4, 4)
    blocks: NDArray[np.int32]  # (n, 5, 2)
    today: NDArray[np.int32]  # (n, 2)
    volumes: NDArray[np.int64]  # (n, 2) contracts: bid, ask
    paired: NDArray[np.int32]  # (n,) votes dropped, cap 1, both sides
    chain: NDArray[np.int64]  # (2, 4, 2) votes, cap 1: type, window, side
    newest: NDArray[np.int64]  # (n,) sequence number of the slot's newest entry, -1: none
    dirty: NDArray[np.int32]  # (n,) slots whose facts changed
    is_dirty: NDArray[np.uint8]  # (n,)
    mids: NDArray[np.int64]  # (8, n) bid + ask at the last 60 s marks, UNDEF_PRICE: none
    marks: NDArray[np.uint16]  # (n,) MARK_* of the feed that hold now; written by the engine
    active: NDArray[np.uint8]  # (n, 2, 2) it holds: side, candidate or alert
    began_ns: NDArray[np.int64]  # (n, 2, 2) the first instant of the run
    ended_ns: NDArray[np.int64]  # (n, 2, 2) the instant at which it stopped holding
    due_ns: NDArray[np.int64]  # (n, 2, 2) the instant of its last row
    best: NDArray[np.float64]  # (2, 8) scratch: each side's strongest evidence
    shares: NDArray[np.float64]  # (5,) season's share of the windows and of today, at NOW
    levels: NDArray[np.float64]  # (2,) expected votes of a session: all calls, all puts
    cursor: NDArray[np.int64]  # (CURSORS,)
    expected: Records  # (n,) EXPECTED
    season: NDArray[np.float64]  # (b + 1,)
    profile: Records  # (1,) PROFILE
    signals: Records  # (rows,) SIGNAL; cursor[ROWS] are filled


@kernel
def check_votes_room(score: Score, entries: int) -> int:
    """Return DONE if the log takes `entries` more, else NEED_VOTES: grow it and call again."""
    used = score.cursor[HEAD] - score.cursor[TAIL + TAILS - 1]
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
    for column in range(4):
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
def drop_side(score: Score, sequence: int, side: int) -> None:
    """Drop one side's votes of an entry, wherever they count."""
    add_everywhere(score, sequence, -1)
    entry = score.log[sequence & (score.log.shape[0] - 1)]
    entry["dropped"][side] += entry["votes"][side]
    entry["votes"][side] = 0
    entry["votes"][2 + side] = 0
    add_everywhere(score, sequence, 1)


@kernel
def pair_sides(score: Score, slot: int, second: int, sides: int) -> int:
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
                if entry["votes"][side] > 0 and (sides >> side) & 1:
                    drop_side(score, sequence, side)
        sequence = int(entry["previous"])
    return found


@kernel
def capped(before: int, after: int, cap: int) -> int:
    """Return the new votes of a bucket whose contracts grew from `before` to `after`."""
    return (after if after < cap else cap) - (before if before < cap else cap)


@kernel
def can_score(identities: Records, slot: int) -> bool:
    """Return whether the slot is a known option that still trades under its id."""
    kind = identities[slot]["kind"]
    known = identities[slot]["mapped"] == 1 and identities[slot]["retired"] == 0
    return known and (kind == KIND_CALL or kind == KIND_PUT)


@kernel
def note_flow(
    score: Score,
    identities: Records,
    slot: int,
    second: int,
    instant_ns: int,
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
    if sequence - score.cursor[TAIL + TAILS - 1] >= score.log.shape[0]:
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
    sides = (1 if bid_after > bid_before else 0) | (2 if ask_after > ask_before else 0)
    entry["sides"] = sides
    entry["chain"] = -1
    if can_score(identities, slot):
        entry["chain"] = int(identities[slot]["kind"]) - KIND_CALL
    score.newest[slot] = sequence
    score.cursor[HEAD] = sequence + 1
    add_everywhere(score, sequence, 1)
    touch_slot(score, slot)
    twin = int(identities[slot]["twin_slot"])
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
    """Let every entry grow old up to `instant_ns`. O(entries that pass a tail)."""
    mask = score.log.shape[0] - 1
    for tail in range(TAILS):
        limit_ns = instant_ns - TAIL_NS[tail]
        sequence = score.cursor[TAIL + tail]
        while sequence < score.cursor[HEAD]:
            index = sequence & mask
            if score.log[index]["instant_ns"] > limit_ns:
                break
            pass_tail(score, tail, index)
            touch_slot(score, int(score.log[index]["slot"]))
            sequence += 1
        score.cursor[TAIL + tail] = sequence


@kernel
def open_session(score: Score, open_ns: int) -> None:
    """Forget all flow, mids and episodes: no window spans a break. O(n)."""
    score.windows[:] = 0
    score.blocks[:] = 0
    score.today[:] = 0
    score.volumes[:] = 0
    score.paired[:] = 0
    score.chain[:] = 0
    score.newest[:] = -1
    score.is_dirty[:] = 0
    score.mids[:] = UNDEF_PRICE
    score.active[:] = 0
    score.ended_ns[:] = -(2**62)
    score.due_ns[:] = -(2**62)
    for tail in range(TAILS):
        score.cursor[TAIL + tail] = score.cursor[HEAD]
    score.cursor[DIRTY] = 0
    score.cursor[DIRTY_DONE] = 0
    score.cursor[NOW] = -1
    score.cursor[OPEN] = open_ns
    score.cursor[MARK] = -1
    score.cursor[OBSERVED] = -1
