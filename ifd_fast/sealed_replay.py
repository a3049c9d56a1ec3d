"""The heavy stage of re-scoring: recordings played once, their sessions sealed into folders.

What is played is a unit: files that are one stream, or the record of a live session with its
journal. Thresholds and scoring have no part in what comes out, so it is kept and scored again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ifd_fast import __version__
from ifd_fast.accounts import count_engine, sum_streams
from ifd_fast.alignment import give_back_compiler, give_back_free, keep_heap_whole
from ifd_fast.calendar import load_sessions
from ifd_fast.digests import FactsDigest, RowDigest
from ifd_fast.record_reader import RecordReader
from ifd_fast.record_replay import RecordPlayer, player_of
from ifd_fast.replaying import Player
from ifd_fast.sealed_files import DayFolders
from ifd_fast.sealing import SealDrain, SealingEngine
from ifd_fast.streams import open_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import polars as pl

    from ifd_fast.config import Settings

__all__ = ["seal_files", "seal_record", "sealing_digest"]

# Of a profile, what changes a sealed session; all else is scored again from it.
_KEYS: Final = (
    "universe", "calendar", "window_s", "window_step_s", "lateness_s", "scoring_interval_s",
)  # fmt: skip


def sealing_digest(settings: Settings) -> str:
    """Return the digest of the settings that change a sealed session, 64 hex digits."""
    values = [f"{name}={getattr(settings.profile, name)!r}" for name in _KEYS]
    return hashlib.sha256("\n".join(values).encode()).hexdigest()


class _Sealer:
    """One unit under way: engine, folders, and what was found of each session."""

    def __init__(self, settings: Settings, folders: DayFolders) -> None:
        self.settings, self.folders = settings, folders
        profile = settings.profile
        self.engine = SealingEngine(profile, load_sessions(profile.calendar))
        self.drain = SealDrain(self.engine, self._deliver)
        self._facts: dict[dt.date, FactsDigest] = {}
        self._windows: dict[dt.date, RowDigest] = {}
        keep_heap_whole()

    def finish(
        self,
        streams: list[dict[str, Any]],
        counts: dict[str, Any],
        observed_to_ns: int,
        done: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Publish every session that has rows; return what is known of each."""
        self.folders.deliver("instruments", self.engine.instruments.frame())
        documents = {}
        for date in sorted(self._facts):
            described = self._describe(date, observed_to_ns)
            if described is not None:
                documents[date] = self._document(described, streams, counts)
        self.folders.finish(documents, done)
        return [document["sessions"][0] for document in documents.values()]

    def _document(
        self, described: dict[str, Any], streams: list[dict[str, Any]], counts: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "version": __version__,
            # Not that of all settings: sessions sealed alike are alike, whoever asked for it.
            "config_digest": sealing_digest(self.settings),
            "files": streams,
            "counts": counts,
            "observed_gaps_ns": self.drain.gaps_ns,
            "sealed": {"scored_before_ns": self.engine.scored_before_ns},
            "sessions": [described],
        }

    def _describe(self, date: dt.date, observed_to_ns: int) -> dict[str, Any] | None:
        session = self.engine.sessions.session_of(date)
        if session is None:
            return None
        windows = self._windows.get(date, RowDigest())
        return {
            "trade_date": date.isoformat(),
            "open_ns": session.open_ns,
            "close_ns": session.close_ns,
            "observed_from_ns": max(self.engine.observed_from_ns, session.open_ns),
            "observed_to_ns": min(observed_to_ns, session.close_ns),
            "facts_digest": self._facts[date].facts_digest,
            "rows": self._facts[date].row_count,
            "windows": windows.row_count,
            "rows_digest": windows.rows_digest,
            "windows_facts_digest": windows.facts_digest,
        }

    def _deliver(self, name: str, frame: pl.DataFrame) -> None:
        for (date,), part in _by_date(name, frame):
            if name == "windows":
                self._windows.setdefault(date, RowDigest()).update(part)
            else:
                self._facts.setdefault(date, FactsDigest()).update(part)
        self.folders.deliver(name, frame)
        if name == "facts":
            give_back_free()
            give_back_compiler()


def _by_date(name: str, frame: pl.DataFrame) -> Iterable[tuple[Any, pl.DataFrame]]:
    """Return the parts of a frame of rows, each with its trade date; nothing of other frames."""
    if name not in {"windows", "facts"}:
        return ()
    return frame.group_by("trade_date", maintain_order=True)


def seal_files(
    files: Sequence[Path],
    settings: Settings,
    folders: DayFolders,
    done: dict[str, Any],
    progress: Callable[[int, int, int], object] | None = None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Seal the sessions of files that are one stream; return what is known of each, and all counts.

    Raises
    ------
    DataError
        A file can't be used; nothing is published.
    """
    sealer = _Sealer(settings, folders)
    sources = open_stream(list(files))
    total = sum(source.bytes_total for source in sources)
    player = Player(sealer.engine, sealer.drain)
    try:
        for read in player.play(sources):
            if progress is not None:
                progress(read, total, int(sealer.engine.state.actions.sum()))
        player.close()
    finally:
        for source in sources:
            source.close()
    counts = {
        **sum_streams(player.streams),
        "handed_by_type": player.handed,
        **count_engine(sealer.engine),
    }
    return sealer.finish(player.streams, counts, player.observed_to_ns, done), counts


def seal_record(
    folder: Path,
    settings: Settings,
    folders: DayFolders,
    done: dict[str, Any],
    progress: Callable[[int, int, int], object] | None = None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Seal the sessions of a live session's record, as `seal_files` does those of files."""
    sealer = _Sealer(settings, folders)
    reader = RecordReader(folder)
    reader.verify()
    player: RecordPlayer = player_of(reader, sealer.engine, sealer.drain)
    read, total = 0, sum(reader.ends.values())
    for step in player.play():
        read += step
        sealer.drain.drain_when_full()
        if progress is not None:
            progress(read, total, int(sealer.engine.state.actions.sum()))
    observed_to_ns = sealer.engine.watermark_ns
    sealer.engine.flush()
    sealer.drain.drain(observed_to_ns)
    sealer.engine.release()
    account = player.feed.account()
    return sealer.finish(player.feed.streams, account, observed_to_ns, done), account
