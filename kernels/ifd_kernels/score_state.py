"""The scorer's state: the log of votes, what rolls over it, and where its cursors stand."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ifd_kernels.layout import SECOND_NS, Records

__all__ = ["VOTE", "Score"]

# One (slot, second) bucket's new flow at one instant; without contracts: a leg's mid has turned.
VOTE: Final = np.dtype(
    [
        ("instant_ns", "<i8"),  # when it was handed over
        ("second", "<i8"),  # of its bucket, since the epoch
        ("previous", "<i8"),  # sequence number of the slot's entry before it, -1: none
        ("bid_volume", "<i8"),  # contracts
        ("ask_volume", "<i8"),
        ("slot", "<i4"),
        ("votes", "i1", (6,)),  # BID_1, ASK_1, BID_10, ASK_10, BID_B, ASK_B; not the paired ones
        ("dropped", "i1", (2,)),  # BID, ASK: votes of cap 1 the pair filter dropped
        ("sides", "i1"),  # SIDE bits that had contracts
        ("chain", "i1"),  # 0 calls, 1 puts, -1 neither: whose market it counts in
        ("grain_s", "i1"),  # seconds in which a side has one vote of channel B, 0: it has none
        ("moved", "i1"),  # the slot's mid against that of five marks ago: 1, 0, -1
        ("twin_moved", "i1"),
        ("pad", "i1", (7,)),
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
COLUMNS: Final = 6  # of VOTE.votes
NEIGHBOURS: Final = 4  # strikes -2, -1, 1, 2
SAID_SECONDS: Final = 2_048  # kept: those of the longest window, and the lateness before them
SAID_SLOTS: Final = 64  # slots in a word of Score.said
MOST_VOTES: Final = 64  # of a side, looked at for steps, the newest; under 128, see count_steps
NEVER: Final = 2**62

# Score.cursor, int64
TAIL: Final = 0  # ... TAIL + 7: sequence number of the oldest entry younger than TAIL_NS
HEAD: Final = 8  # sequence number of the next entry
DIRTY: Final = 9  # slots in Score.dirty
DIRTY_DONE: Final = 10  # of them, judged at the instant at hand
NOW: Final = 11  # the instant at hand, ns
OPEN: Final = 12  # the session's open, ns
MARK: Final = 13  # last 60 s mark whose mids are kept, -1: none
FAMILY: Final = 14  # options that can be scored
ROWS: Final = 15  # rows in Score.signals
CANDIDATES: Final = 16  # counted: a candidate, then one each cooldown
ALERTS: Final = 17
EVALUATIONS: Final = 18  # counted: slots recomputed
SLOTS: Final = 19  # instrument slots in use
OBSERVED: Final = 20  # since when the session is observed, ns
KEPT: Final = 21  # sequence number of the first entry that nobody has taken; NEVER: nobody does
DIRTY_WEIGHED: Final = 22  # of the dirty slots, weighed at the instant at hand
SEALS: Final = 23  # 1: instants are not scored, only what scoring would need is logged
LEANT: Final = 24  # 1: Score.leans are those of what was noted so far
CURSORS: Final = 25

# Places of Score.leant, of all slots that lean.
LEANT_SLOTS: Final = 0
LEANT_SUM: Final = 1
LEANT_SQUARES: Final = 2
LEANT_PLACES: Final = 3

# Columns of Score.best, a side's strongest evidence.
BEST_RANK: Final = 0
BEST_DEVIATE: Final = 1
BEST_WINDOW: Final = 2
BEST_CHANNEL: Final = 3
BEST_FOR: Final = 4
BEST_AGAINST: Final = 5
BEST_MEAN_FOR: Final = 6
BEST_MEAN_AGAINST: Final = 7
BEST_TODAY: Final = 8
EVIDENCE: Final = 9  # columns up to here are of evidence that the profile lets in
ANY_RANK: Final = 9  # of the strongest by rules that no profile changes: what others are told
ANY_WINDOW: Final = 10
BESTS: Final = 11


class Score(NamedTuple):
    """State, inputs and output of the scorer: n slots.

    `windows` and `blocks` hold votes after the pair filter, by window and column of VOTE, or by
    60 s block and side; `volumes` and `paired` are of the 300 s window; `today` holds the votes
    (both sides, channels A, C and B) of the 90 minutes before the longest window.
    """

    log: Records  # (capacity,) VOTE, capacity a power of two
    windows: NDArray[np.int32]  # (n, 4, 6)
    blocks: NDArray[np.int32]  # (n, 5, 2)
    today: NDArray[np.int32]  # (n, 3)
    volumes: NDArray[np.int64]  # (n, 2) contracts: bid, ask
    paired: NDArray[np.int32]  # (n,) votes dropped, cap 1, both sides
    chain: NDArray[np.int64]  # (2, 4, 2) votes, cap 1: type, window, side
    newest: NDArray[np.int64]  # (n,) sequence number of the slot's newest entry, -1: none
    dirty: NDArray[np.int32]  # (n,) slots whose facts changed
    is_dirty: NDArray[np.uint8]  # (n,)
    mids: NDArray[np.int64]  # (8, n) bid + ask at the last 60 s marks, UNDEF_PRICE: none
    moved: NDArray[np.int8]  # (n,) sign of the mid's move over five marks, at the newest one
    logged: NDArray[np.int8]  # (n,) the sign that the log last said
    marks: NDArray[np.uint16]  # (n,) MARK_* of the feed that hold now; written by the engine
    told_marks: NDArray[np.uint16]  # (n,) the marks that sealing last logged, see scoring.seal_slot
    active: NDArray[np.uint8]  # (n, 2) an episode is on
    began_ns: NDArray[np.int64]  # (n, 2) its first instant
    ended_ns: NDArray[np.int64]  # (n, 2) the instant at which the last one ended
    reached: NDArray[np.uint8]  # (n, 2) classes that the episode has reached
    due_ns: NDArray[np.int64]  # (n, 2, 2) the instant of the last row: candidate, alert
    best: NDArray[np.float64]  # (n, 2, BESTS) each side's strongest evidence when last weighed
    scratch: NDArray[np.float64]  # (EVIDENCE,) of the measurement at hand
    grain_s: NDArray[np.int8]  # (n,) seconds of channel B, 0: none
    neighbours: NDArray[np.int32]  # (n, 4) slots of the strikes beside, same type; -1: none
    leans: NDArray[np.int32]  # (n,) each slot's lean, see neighbours.py, if cursor[LEANT] says so
    leant: NDArray[np.int64]  # (LEANT_PLACES,) how many slots lean, the sum of leans, of squares
    shares: NDArray[np.float64]  # (5,) season's share of the windows and of today, at NOW
    levels: NDArray[np.float64]  # (2,) expected votes of a session: all calls, all puts
    said: NDArray[np.int64]  # (ceil(n / 64), 2048, 2) slots with contracts, by second and side
    said_second: NDArray[np.int64]  # (2048,) the second that stands there, -1: none
    steps: NDArray[np.int64]  # (64,) scratch: where the seconds of the side's votes stand
    cursor: NDArray[np.int64]  # (CURSORS,)
    expected: Records  # (n,) EXPECTED
    season: NDArray[np.float64]  # (b + 1,)
    ranks: NDArray[np.float64]  # (5, 4, bins, nodes) decades of a residual, see ranks.py
    limits: Records  # (1,) LIMITS
    profile: Records  # (1,) PROFILE
    signals: Records  # (rows,) SIGNAL; cursor[ROWS] are filled
