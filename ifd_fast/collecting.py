"""What a run finds: rows and signals on their way from the engine to frames, files and digests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from ifd_fast import __version__
from ifd_fast.digests import RowDigest, SignalDigest
from ifd_fast.flows import FACTS_WINDOW_S
from ifd_fast.handovers import HANDOVERS_SCHEMA, build_handovers
from ifd_fast.identities import frame_identities
from ifd_fast.rows import FACTS_SCHEMA, WINDOW_SCHEMA, build_facts, build_windows
from ifd_fast.signals import SIGNAL_SCHEMA, build_signals
from ifd_fast.summaries import summarize
from ifd_kernels.layout import MARK_PARTLY_OBSERVED, MARK_TAPE_GAP, MARK_UNMAPPED
from ifd_kernels.pressure import ROW_FACTS, ROW_REPORT

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from ifd_fast.config import Settings
    from ifd_fast.engine import FlowEngine
    from ifd_fast.outputs import RunFolder

__all__ = ["Collector", "ReplayResult"]

_FRAME_ROWS: Final = 32_768  # 5 MB; the frames of a session of 40,000 rows took 2 s one by one

_IDENTITY: Final = (
    "instrument_id",
    "symbol",
    "root",
    "underlying",
    "expiration",
    "strike",
    "option_type",
)


@dataclass(frozen=True)
class ReplayResult:
    """What a replay found.

    Attributes
    ----------
    windows, signals, facts, handovers, instruments
        Frames of `rows.WINDOW_SCHEMA`, `signals.SIGNAL_SCHEMA`, `rows.FACTS_SCHEMA`,
        `handovers.HANDOVERS_SCHEMA` and of identities; read from the files when the run wrote to
        a folder.
    document
        What happened to every record, digests and settings, as session.json has it.
    summary
        The same for people.
    out
        The folder it was written to, None if it is in memory.
    """

    document: dict[str, Any]
    summary: str
    out: Path | None
    _frames: dict[str, pl.DataFrame]

    @property
    def counts(self) -> dict[str, Any]:
        """Every record, by what became of it."""
        counts: dict[str, Any] = self.document["counts"]
        return counts

    @property
    def rows_digest(self) -> str | None:
        """Digest of all columns of all window rows; None without rows."""
        digest: str | None = self.document["digests"]["rows_digest"]
        return digest

    @property
    def facts_digest(self) -> str | None:
        """Digest of the integer, time and text columns but quality; None without rows."""
        digest: str | None = self.document["digests"]["facts_digest"]
        return digest

    @property
    def signals_digest(self) -> str | None:
        """Digest of all signals, None without one."""
        digest: str | None = self.document["digests"]["signals_digest"]
        return digest

    @property
    def windows(self) -> pl.DataFrame:
        """Window rows, sorted by (window_end, instrument_id)."""
        return self._frame("windows")

    @property
    def signals(self) -> pl.DataFrame:
        """Candidates and alerts, in order of time."""
        return self._frame("signals")

    @property
    def facts(self) -> pl.DataFrame:
        """Tumbling windows of 300 s with capped votes: what baselines are made of."""
        return self._frame("facts")

    @property
    def handovers(self) -> pl.DataFrame:
        """What the scorer was given, in its order: a session is scored again from them alone."""
        return self._frame("handovers")

    @property
    def instruments(self) -> pl.DataFrame:
        """One row an instrument that was listed or seen."""
        return self._frame("instruments")

    def _frame(self, name: str) -> pl.DataFrame:
        if self.out is None:
            return self._frames[name]
        return pl.read_parquet(self.out / f"{name}.parquet")


class Collector:
    """Takes what the engine has found so far and passes it on, frame by frame.

    Frames go to `deliver` (name, frame) if it is given, else to files of `folder`, else they are
    kept in memory.
    """

    def __init__(
        self,
        engine: FlowEngine,
        folder: RunFolder | None = None,
        deliver: Callable[[str, pl.DataFrame], object] | None = None,
    ) -> None:
        """Collect from `engine`."""
        self.engine = engine
        self.folder = folder
        self.deliver = deliver
        self.takes_rows = True  # else window rows are dropped as they come
        self.on_signals: Callable[[pl.DataFrame], object] | None = None  # told of them at once
        self.gaps_ns: list[tuple[int, int]] = []
        self.signal_counts = {"candidates": 0, "alerts": 0}
        self._digest = RowDigest()
        self._signals_digest = SignalDigest()
        self._sessions: dict[dt.date, RowDigest] = {}
        self._frames: dict[str, list[pl.DataFrame]] = {name: [] for name in _SCHEMAS}
        self._identity: tuple[tuple[int, ...], pl.DataFrame] = ((), pl.DataFrame())
        engine.before_names = self.drain
        for name, schema in _SCHEMAS.items():
            self._append(name, pl.DataFrame(schema=schema))

    @property
    def digests(self) -> dict[str, str | None]:
        """The digests of all that was collected so far."""
        return {
            "rows_digest": self._digest.rows_digest,
            "facts_digest": self._digest.facts_digest,
            "signals_digest": self._signals_digest.signals_digest,
        }

    def drain(self, observed_to_ns: int | None = None) -> None:
        """Take all rows and signals; windows that end after `observed_to_ns` were cut short."""
        rows = self.engine.take_rows()
        if len(rows) and self.takes_rows:
            self._grade(rows, observed_to_ns)
            self._take_windows(rows[rows["rows"] & ROW_REPORT != 0])
            self._take_facts(rows[rows["rows"] & ROW_FACTS != 0])
        for listed in self.engine.instruments.over.take():
            self._append("instruments", listed)
        signals = self.engine.take_signals()
        if len(signals):
            digest = self.engine.profile.rules_digest
            frame = build_signals(signals, self._known(), self.engine.sessions, digest)
            self.signal_counts["candidates"] += int(frame["candidate"].sum())
            self.signal_counts["alerts"] += int(frame["alert"].sum())
            self._signals_digest.update(frame)
            self._append("signals", frame)
            if self.on_signals is not None:
                self.on_signals(frame)
        self._take_handovers()

    def drain_when_full(self) -> None:
        """Take what was found once it is worth a frame: 23 columns cost the same for one row."""
        awaited = self.on_signals is not None and self.engine.signals_pending > 0
        if awaited or self.engine.pending_count >= _FRAME_ROWS:
            self.drain()

    def finish(
        self,
        settings: Settings,
        files: list[dict[str, Any]],
        counts: dict[str, Any],
        observed_to_ns: int,
    ) -> ReplayResult:
        """Write what describes the run, and return it."""
        self._append("instruments", self.engine.instruments.frame())
        document = {
            "version": __version__,
            "profile": settings.name,
            "config_digest": settings.digest,
            "rules_digest": settings.profile.rules_digest,
            "settings": settings.profile.tree(),
            "baselines_store": _store_of(self.engine.history),
            "baselines": dict(getattr(self.engine.history, "digests", {})),
            "ranking": dict(getattr(self.engine.history, "rankings", {})),
            "window_s": settings.profile.window_s,
            "window_step_s": settings.profile.window_step_s,
            "files": files,
            "counts": {**counts, "windows": self._digest.row_count, **self.signal_counts},
            "observed_gaps_ns": self.gaps_ns,
            "sessions": self._describe_sessions(observed_to_ns),
            "digests": self.digests,
        }
        summary = summarize(document)
        frames: dict[str, pl.DataFrame] = {}
        if self.folder is None:
            frames = {name: pl.concat(parts) for name, parts in self._frames.items()}
        else:
            self.folder.write_json("session.json", document)
            self.folder.write_text("summary.txt", summary)
        out = None if self.folder is None else self.folder.path
        return ReplayResult(document, summary, out, frames)

    def _grade(self, rows: NDArray[np.void], observed_to_ns: int | None) -> None:
        """Mark windows that were not wholly observed, and rows of unknown instruments."""
        starts, ends = rows["window_start_ns"], rows["window_end_ns"]
        cut = starts < self.engine.observed_from_ns
        if observed_to_ns is not None:
            cut |= ends > observed_to_ns
        rows["marks"] |= np.where(cut, MARK_PARTLY_OBSERVED, 0)
        for gap_start, gap_end in self.gaps_ns:
            inside = (starts < gap_end) & (ends > gap_start)
            rows["marks"] |= np.where(inside, MARK_TAPE_GAP, 0)
        mapped = self.engine.instruments.identities["mapped"][rows["slot"]]
        rows["marks"] |= np.where(mapped == 0, MARK_UNMAPPED, 0)

    def _take_windows(self, rows: NDArray[np.void]) -> None:
        frame = build_windows(rows, self._known(), self._dates())
        self._digest.update(frame)
        self._append("windows", frame)

    def _take_facts(self, rows: NDArray[np.void]) -> None:
        frame = build_facts(rows, self._known(), self._dates(), FACTS_WINDOW_S)
        for date, part in frame.group_by("trade_date", maintain_order=True):
            digest = self._sessions.setdefault(date[0], RowDigest())
            digest.update(part)
        self._append("facts", frame)

    def _take_handovers(self) -> None:
        entries = self.engine.take_handovers()
        if len(entries) and self.deliver is None:
            ids = self.engine.instruments.identities["instrument_id"]
            close_ns = np.asarray(self.engine.sessions.close_ns)
            self._append("handovers", build_handovers(entries, ids, close_ns, self._dates()))

    def _append(self, name: str, frame: pl.DataFrame) -> None:
        if self.deliver is not None:
            self.deliver(name, frame)
        elif self.folder is None:
            self._frames[name].append(frame)
        else:
            self.folder.frame_file(f"{name}.parquet", _SCHEMAS[name]).append(frame)

    def _known(self) -> pl.DataFrame:
        """Return who each slot is now, one line a slot."""
        version = self.engine.identity_version
        if self._identity[0] != version:
            self._identity = (
                version,
                self.engine.instruments.frame_by_slot().select(*_IDENTITY, "opened"),
            )
        return self._identity[1]

    def _dates(self) -> NDArray[np.datetime64]:
        return np.asarray(self.engine.sessions.trade_date)

    def _describe_sessions(self, observed_to_ns: int) -> list[dict[str, Any]]:
        """Return what was observed of each trading session that has rows."""
        described = []
        for date, digest in sorted(self._sessions.items()):
            session = self.engine.sessions.session_of(date)
            if session is None:
                continue
            described.append(
                {
                    "trade_date": date.isoformat(),
                    "open_ns": session.open_ns,
                    "close_ns": session.close_ns,
                    "observed_from_ns": max(self.engine.observed_from_ns, session.open_ns),
                    "observed_to_ns": min(observed_to_ns, session.close_ns),
                    "facts_digest": digest.facts_digest,
                    "rows": digest.row_count,
                }
            )
        return described


def _store_of(history: object) -> str | None:
    store = getattr(history, "store", None)
    return None if store is None else str(store)


_NO_TIMES: Final = np.zeros(0, np.int64)
_SCHEMAS: Final = {
    "windows": WINDOW_SCHEMA,
    "facts": FACTS_SCHEMA,
    "signals": SIGNAL_SCHEMA,
    "instruments": frame_identities([], _NO_TIMES, _NO_TIMES).schema,
    "handovers": HANDOVERS_SCHEMA,
}
