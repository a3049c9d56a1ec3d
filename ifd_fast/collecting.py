"""What a run finds: rows and signals on their way from the engine to frames, files and digests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from ifd_fast import __version__
from ifd_fast.alignment import give_back_compiler, give_back_free, keep_heap_whole
from ifd_fast.digests import FactsDigest, RunDigests
from ifd_fast.draining import SCHEMAS, Drain
from ifd_fast.summaries import summarize
from ifd_kernels import _jit

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from ifd_fast.config import Settings
    from ifd_fast.engine import FlowEngine
    from ifd_fast.outputs import RunFolder

__all__ = ["Collector", "ReplayResult"]

_TRIM_ROWS: Final = 8_192  # between two times that free memory is given back


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


class Collector(Drain):
    """What a run finds: kept in memory or in files of `folder`, counted, digested, reported."""

    def __init__(self, engine: FlowEngine, folder: RunFolder | None = None) -> None:
        """Collect from `engine`."""
        super().__init__(engine, self._collect)
        keep_heap_whole()
        self.folder = folder
        self.signal_counts = {"candidates": 0, "alerts": 0}
        self.record: str | None = None  # the live session's, of which this is the replay
        self.repairs: list[dict[str, Any]] = []  # what was played of each of `repaired_ns`
        self._digests = RunDigests()
        self._sessions: dict[dt.date, FactsDigest] = {}
        self._frames: dict[str, list[pl.DataFrame]] = {name: [] for name in SCHEMAS}
        self._untrimmed_rows = 0
        self._trimmed_at = engine.instruments.capacity, _jit.loaded()
        for name, schema in SCHEMAS.items():
            self._append(name, pl.DataFrame(schema=schema))

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
            "record": self.record,
            "files": files,
            "counts": {**counts, "windows": self._digests.window_count, **self.signal_counts},
            "observed_gaps_ns": self.gaps_ns,
            "repaired_gaps": self.repairs,
            "sessions": self._describe_sessions(observed_to_ns),
            "digests": self._digests.found,
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

    def drain(self, observed_to_ns: int | None = None) -> None:
        """Take all rows and signals; windows that end after `observed_to_ns` were cut short."""
        super().drain(observed_to_ns)
        # Arrays by slot are copied as they grow, and loading a kernel touches the compiler.
        now = self.engine.instruments.capacity, _jit.loaded()
        if self._untrimmed_rows >= _TRIM_ROWS or now != self._trimmed_at:
            self._untrimmed_rows, self._trimmed_at = 0, now
            give_back_free()
            give_back_compiler()

    def _collect(self, name: str, frame: pl.DataFrame) -> None:
        if name == "windows":
            self._untrimmed_rows += frame.height
        elif name == "facts":
            for date, part in frame.group_by("trade_date", maintain_order=True):
                self._sessions.setdefault(date[0], FactsDigest()).update(part)
        elif name == "signals":
            self.signal_counts["candidates"] += int(frame["candidate"].sum())
            self.signal_counts["alerts"] += int(frame["alert"].sum())
        self._digests.update(name, frame)
        self._append(name, frame)

    def _append(self, name: str, frame: pl.DataFrame) -> None:
        if self.folder is None:
            self._frames[name].append(frame)
        else:
            self.folder.frame_file(f"{name}.parquet", SCHEMAS[name]).append(frame)

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
