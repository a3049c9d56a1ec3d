"""Hand-overs: what the scorer was given, when; from them alone a session is scored again.

Live, they are drained from the scorer's log before they are overwritten and written to
`handovers.parquet`; later, `rescore` runs them through the very kernels that scored them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from ifd_fast.errors import IfdError
from ifd_fast.scores import grow_score, take_signals
from ifd_kernels.evidence import MIN_SESSION_VOTES
from ifd_kernels.layout import DONE, SECOND_NS, TOUCH
from ifd_kernels.ranks import LEVELS, STEPS, Tally
from ifd_kernels.rescoring import (
    FOR_SAMPLES,
    FOR_SIGNALS,
    HANDOVER,
    MARKED,
    PLACES,
    SAMPLED_NS,
    rescore_session,
)
from ifd_kernels.score_state import HEAD, KEPT, NEVER, VOTE
from ifd_kernels.signals import BINS, CHANNELS, WINDOWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ifd_kernels.score_state import Score

__all__ = [
    "HANDOVERS_SCHEMA",
    "allocate_tally",
    "build_handovers",
    "pack_entries",
    "rescore",
    "rescore_signals",
    "take_handovers",
]

# In the order of the log: what one instant handed over stands together, moves of mids last.
HANDOVERS_SCHEMA: Final = pl.Schema(
    {
        "trade_date": pl.Date(),
        "instant": pl.Datetime("ns", "UTC"),
        "instrument_id": pl.UInt32(),
        "age_s": pl.Int32(),  # whole seconds from the bucket's start to the instant
        "bid_volume": pl.Int64(),
        "ask_volume": pl.Int64(),
        "moved": pl.Int8(),
        "twin_moved": pl.Int8(),
    }
)


def take_handovers(score: Score) -> NDArray[np.void]:
    """Return the log's entries since the last call, VOTE (k,); from the first call on all are kept.

    What was handed over to no instant, at the end of a stream, is left out.
    """
    cursor = score.cursor
    first, last = min(int(cursor[KEPT]), int(cursor[HEAD])), int(cursor[HEAD])
    cursor[KEPT] = last
    if first == last:
        return np.zeros(0, VOTE)
    taken: NDArray[np.void] = score.log[np.arange(first, last) & (len(score.log) - 1)]
    return taken[taken["instant_ns"] < NEVER]


def build_handovers(
    entries: NDArray[np.void],
    instrument_ids: NDArray[np.uint32],
    close_ns: NDArray[np.int64],
    trade_dates: NDArray[np.datetime64],
) -> pl.DataFrame:
    """Return log entries (k,) of VOTE as a frame of HANDOVERS_SCHEMA.

    `instrument_ids` by slot; `close_ns` and `trade_dates` one a session of the calendar.
    """
    session = np.searchsorted(close_ns, entries["instant_ns"])
    dates = trade_dates[np.minimum(session, len(trade_dates) - 1)]
    return pl.DataFrame(
        {
            "trade_date": dates.astype("datetime64[D]"),
            "instant": entries["instant_ns"],
            "instrument_id": instrument_ids[entries["slot"]],
            "age_s": entries["instant_ns"] // SECOND_NS - entries["second"],
            "bid_volume": entries["bid_volume"],
            "ask_volume": entries["ask_volume"],
            "moved": entries["moved"],
            "twin_moved": entries["twin_moved"],
        }
    ).cast(dict(HANDOVERS_SCHEMA))  # type: ignore[arg-type]  # a Schema is a mapping of these


def allocate_tally(slots: int) -> Tally:
    """Return empty counts for sessions of `slots` slots."""
    return Tally(
        residuals=np.zeros((CHANNELS, WINDOWS, BINS, STEPS), np.int64),
        samples=np.zeros((CHANNELS, WINDOWS, BINS), np.int64),
        episodes=np.zeros(LEVELS, np.int64),
        due_ns=np.full((slots, 2, LEVELS), -NEVER, np.int64),
        alike=np.zeros(slots, np.int32),
        silent=np.zeros((1, 2), np.int64),
    )


def rescore(
    score: Score,
    identities: NDArray[np.void],
    rows: NDArray[np.void],
    *,
    first_ns: int,
    stop_ns: int,
    purpose: int = FOR_SIGNALS,
    tally: Tally | None = None,
) -> Score:
    """Run hand-overs (k,) of HANDOVER through a score at its session's open; return it.

    `first_ns` and `stop_ns`: of the session, what was observed; `purpose`: rescoring.FOR_*.

    Raises
    ------
    IfdError
        If the kernel asks for what can't be grown: a defect.
    """
    counts = tally or allocate_tally(1)
    if purpose == FOR_SAMPLES:
        alike = _number_alike(score.expected)
        counts = counts._replace(alike=alike, silent=np.zeros((len(alike), 2), np.int64))
    touch = np.zeros(len(identities), TOUCH)
    progress, marked = np.zeros(PLACES, np.int64), np.zeros(0, MARKED)
    progress[SAMPLED_NS] = first_ns
    while True:
        status = rescore_session(
            score, identities, touch, rows, marked, stop_ns, purpose, counts, progress
        )
        if status == DONE:
            return score
        before = len(score.log) + len(score.signals)
        score = grow_score(score, int(status))
        if len(score.log) + len(score.signals) == before:
            raise IfdError(f"Scoring again stopped with status {status}. This is a defect.")


def _number_alike(expected: NDArray[np.void]) -> NDArray[np.int32]:
    """Return numbers (n,) that slots share of which the same votes are expected; EXPECTED (n,)."""
    votes = np.stack([expected["votes_1"], expected["votes_10"]], axis=1)
    votes = np.where(votes >= MIN_SESSION_VOTES, votes, MIN_SESSION_VOTES)  # of NaN too
    _, numbers = np.unique(votes[:, 0] + 1j * votes[:, 1], return_inverse=True)
    alike: NDArray[np.int32] = numbers.astype(np.int32)
    return alike


def rescore_signals(
    score: Score,
    identities: NDArray[np.void],
    rows: NDArray[np.void],
    *,
    first_ns: int,
    stop_ns: int,
) -> NDArray[np.void]:
    """Return the signals of a session, SIGNAL (k,), from its hand-overs alone."""
    done = rescore(score, identities, rows, first_ns=first_ns, stop_ns=stop_ns)
    return take_signals(done)


def pack_entries(entries: NDArray[np.void]) -> NDArray[np.void]:
    """Return log entries (k,) of VOTE as HANDOVER (k,), for the same slots."""
    rows = np.zeros(len(entries), HANDOVER)
    for name in ("instant_ns", "second", "bid_volume", "ask_volume", "slot", "moved", "twin_moved"):
        rows[name] = entries[name]
    return rows
