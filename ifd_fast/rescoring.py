"""A sealed session scored again: the very signals that live or a replay found, or other ones.

Hand-overs, marks and changes go through the kernels that run live, each where the live scorer met
it; with the same settings and baselines the signals are the same to the last byte. Nothing here
reads a record of the feed, so other thresholds cost a fraction of a replay.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from ifd_fast.baseline_join import join_slots
from ifd_fast.errors import DataError, IfdError
from ifd_fast.handovers import allocate_tally
from ifd_fast.scores import (
    allocate_score,
    begin_session,
    bury_slots,
    grow_score,
    set_expected,
    take_signals,
    unknown_expected,
)
from ifd_fast.sealing import BURIED, OPENED
from ifd_fast.signals import SIGNAL_SCHEMA, build_signals
from ifd_kernels.layout import IDENTITY, SECOND_NS, TOUCH, UNDEF_PRICE
from ifd_kernels.rescoring import (
    FOR_SIGNALS,
    HANDOVER,
    MARKED,
    PLACES,
    note_rows,
    rescore_session,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from ifd_fast.baseline_estimates import Arrays
    from ifd_fast.calendar import Sessions
    from ifd_fast.profiles import Profile
    from ifd_kernels.score_state import Score

__all__ = ["SealedSession", "Walk", "mend_score", "read_sealed", "score_sealed"]

_NUMBERS: Final = tuple(name for name in IDENTITY.names or () if name != "halted")
_NS: Final = pl.Datetime("ns", "UTC")
_FULL_SESSION_BINS: Final = 276  # as the engine has it where there is no history


@dataclass(frozen=True)
class SealedSession:
    """One session as it was sealed.

    Attributes
    ----------
    trade_date, open_ns, close_ns
        Of the calendar.
    stop_ns
        The last time at which an instant was scored, the close at most.
    rows, marked
        Hand-overs (k,) of HANDOVER in their order, and quality marks (m,) of MARKED.
    changes
        Rows of `sealing.SEALED_SCHEMAS["changes"]`, in order; `number` counts from `rows[0]`.
    names
        By change, its rows of `names`.
    """

    trade_date: dt.date
    open_ns: int
    close_ns: int
    stop_ns: int
    rows: NDArray[np.void]
    marked: NDArray[np.void]
    changes: list[dict[str, Any]]
    names: dict[int, pl.DataFrame]


def read_sealed(folder: Path, trade_date: dt.date, sessions: Sessions) -> SealedSession:
    """Read what scoring needs of the session in `folder`.

    Raises
    ------
    DataError
        A file is missing or damaged, or the session is not in the calendar.
    """
    import msgspec

    session = sessions.session_of(trade_date)
    if session is None:
        raise DataError(f"{folder}: {trade_date} is no session of the calendar in force.")
    try:
        sealed = msgspec.json.decode((folder / "session.json").read_bytes())["sealed"]
        frames = {
            name: pl.read_parquet(folder / f"{name}.parquet")
            for name in ("handovers", "marks", "changes", "names")
        }
    except (OSError, KeyError, msgspec.DecodeError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{folder}: is no sealed session ({error}). Seal it again.") from error
    changes = frames["changes"].sort("change").to_dicts()
    opened = [row["number"] for row in changes if row["kind"] == OPENED]
    if len(opened) != 1 or changes[0]["kind"] != OPENED:
        raise DataError(f"{folder}: has {len(opened)} openings, one is needed. Seal it again.")
    for row in changes:
        row["number"] -= opened[0]
    handed = frames["handovers"].filter(pl.col("number") >= opened[0])
    if (handed["number"].to_numpy() != np.arange(opened[0], opened[0] + handed.height)).any():
        raise DataError(f"{folder}: hand-overs are missing. Seal it again.")
    return SealedSession(
        trade_date,
        session.open_ns,
        session.close_ns,
        min(session.close_ns, int(sealed["scored_before_ns"]) - 1),
        _pack_rows(handed),
        _pack_marked(frames["marks"]),
        changes,
        {int(key[0]): part for key, part in frames["names"].group_by("change")},
    )


def score_sealed(
    sealed: SealedSession, arrays: Arrays | None, profile: Profile, sessions: Sessions
) -> pl.DataFrame:
    """Return the session's signals, a frame of SIGNAL_SCHEMA in order of time.

    `arrays`: the baselines as they stood at its open, None without history.
    """
    found = [pl.DataFrame(schema=SIGNAL_SCHEMA)]
    walk = Walk(sealed, arrays, profile)
    for _ in walk.steps():
        signals = take_signals(walk.score)
        if len(signals):
            found.append(build_signals(signals, walk.names, sessions, profile.rules_digest))
    return pl.concat(found)


class Walk:
    """A scorer that walks through a sealed session, for a purpose of `rescoring.FOR_*`.

    Attributes
    ----------
    score
        Where it stands.
    names
        Who each slot is by now, a frame of one line a slot.
    change
        The last change that was applied.
    """

    def __init__(
        self,
        sealed: SealedSession,
        arrays: Arrays | None,
        profile: Profile,
        purpose: int = FOR_SIGNALS,
    ) -> None:
        """Stand before the session."""
        self._sealed, self._arrays, self._purpose = sealed, arrays, purpose
        self.slots = max(int(change["slots"]) for change in sealed.changes)
        self.score = allocate_score(profile, self.slots)
        self.change: dict[str, Any] = {}
        self._identities = np.zeros(self.slots, IDENTITY)
        self._identities["strike_1e9"] = UNDEF_PRICE
        self._names = _no_names(self.slots)
        self._futures: dict[int, str] = {}
        self._touch = np.zeros(self.slots, TOUCH)
        self._tally = allocate_tally(1)
        self._progress = np.zeros(PLACES, np.int64)

    @property
    def names(self) -> pl.DataFrame:
        """Who each slot is by now."""
        return self._names.drop("slot")

    def steps(self) -> Iterator[None]:
        """Yield before each change, and at the end: what was found so far is to be taken then.

        After a step, its `change` (empty at the end) is applied.
        """
        for change in self._sealed.changes:
            self._score_to(int(change["before_ns"]) - 1, int(change["number"]))
            self.change = change
            yield
            self._apply(change)
        self._score_to(self._sealed.stop_ns, len(self._sealed.rows))
        self.change = {}
        yield

    def begin(self, score: Score, observed_from_ns: int) -> Score:
        """Return a score that stands at the session's open, with its baselines' ranks."""
        season, ranking = np.linspace(0.0, 1.0, _FULL_SESSION_BINS + 1), None
        if self._arrays is not None:
            season, ranking = self._arrays.season, self._arrays.ranking
        return begin_session(score, self._sealed.open_ns, season, observed_from_ns, ranking)

    def _score_to(self, stop_ns: int, row: int) -> None:
        """Score all instants up to `stop_ns`, and hand over the rows up to `row` beyond it."""
        rows = self._sealed.rows[:row]
        stop_ns = min(stop_ns, self._sealed.stop_ns)
        given = (self._touch, rows, self._sealed.marked, stop_ns, self._purpose, self._tally)
        while status := rescore_session(self.score, self._identities, *given, self._progress):
            self.score = mend_score(self.score, int(status))
        while status := note_rows(self.score, self._identities, rows, row, self._progress):
            self.score = mend_score(self.score, int(status))

    def _apply(self, change: dict[str, Any]) -> None:
        """Let the scorer see what changed."""
        if change["kind"] == BURIED:
            bury_slots(self.score, np.array(change["buried"], np.int64), int(change["grave"]))
            return
        if change["kind"] == OPENED:
            self.score = self.begin(self.score, int(change["observed_from_ns"]))
        names = self._sealed.names.get(int(change["change"]))
        if names is not None:
            self._name(names)
        self._expect(int(change["slots"]), int(change["first"]))

    def _name(self, names: pl.DataFrame) -> None:
        slots = names["slot"].to_numpy()
        for name in _NUMBERS:
            self._identities[name][slots] = names[name].to_numpy()
        new = names.with_columns(
            pl.col("expiration_ns").replace(-1, None).cast(_NS).alias("expiration")
        ).select(self._names.columns)
        self._names = pl.concat([self._names, new]).unique("slot", keep="last").sort("slot")
        for slot, future in names.select("slot", "future").iter_rows():
            if future is None:
                self._futures.pop(slot, None)
            else:
                self._futures[slot] = future

    def _expect(self, slots: int, first: int) -> None:
        if first > 0 or self._arrays is None:
            expected = unknown_expected(slots - first)
        else:
            opens_ns, known = self._sealed.open_ns, self._identities
            expected = join_slots(self._arrays, known, slots, opens_ns, symbols=self._futures)
        set_expected(self.score, expected, self._identities, first)


def mend_score(score: Score, status: int) -> Score:
    """Return a score with room for what stopped a kernel.

    Raises
    ------
    IfdError
        If it asks for what can't be grown: a defect.
    """
    grown = grow_score(score, status)
    if len(grown.log) + len(grown.signals) == len(score.log) + len(score.signals):
        raise IfdError(f"Scoring again stopped with status {status}. This is a defect.")
    return grown


def _no_names(slots: int) -> pl.DataFrame:
    """Return a line for each slot, of which nothing is known."""
    nothing = pl.DataFrame({"slot": np.arange(slots)})
    return nothing.with_columns(
        pl.lit(0, pl.Int64).alias("instrument_id"),
        pl.lit(None, pl.String).alias("symbol"),
        pl.lit(None, pl.String).alias("underlying"),
        pl.lit(None, pl.Float64).alias("strike"),
        pl.lit(None, _NS).alias("expiration"),
    )


def _pack_rows(handed: pl.DataFrame) -> NDArray[np.void]:
    rows = np.zeros(handed.height, HANDOVER)
    rows["instant_ns"] = handed["instant"].cast(pl.Int64).to_numpy()
    rows["second"] = rows["instant_ns"] // SECOND_NS - handed["age_s"].to_numpy()
    for name in ("bid_volume", "ask_volume", "slot", "moved", "twin_moved"):
        rows[name] = handed[name].to_numpy()
    return rows


def _pack_marked(marks: pl.DataFrame) -> NDArray[np.void]:
    marked = np.zeros(marks.height, MARKED)
    marked["instant_ns"] = marks["instant"].cast(pl.Int64).to_numpy()
    for name in ("slot", "marks"):
        marked[name] = marks[name].to_numpy()
    return marked
