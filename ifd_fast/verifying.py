"""Promises of a run that anyone can check: nothing looks ahead, warms up, or replays otherwise.

- replay: the record, replayed, gives the recorded digests; so do the files that were written.
- lookahead: a record that ends at T gives the same rows and signals up to T.
- warmup: a stream whose event time begins later gives the same rows from its first whole window
  on, and the same signals once everything the scorer remembers is younger than its beginning;
  history before the lookback, and from the session itself on, changes no estimate.

Nothing has a tolerance: values are the same to the bit, or they differ.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import tempfile
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import polars as pl

from ifd_fast.digests import RowDigest, RunDigests, SignalDigest
from ifd_fast.draining import Drain
from ifd_fast.engine import FlowEngine
from ifd_fast.errors import DataError
from ifd_fast.record_reader import RecordReader
from ifd_fast.record_replay import play_record
from ifd_fast.replaying import make_engine
from ifd_fast.rerunning import Rerun, ring_places, timely_ns
from ifd_kernels.layout import CONSUMED, F_BAD_TS_RECV, SECOND_NS

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

    from ifd_fast.baseline_estimates import Arrays
    from ifd_fast.recordings import Recording
    from ifd_fast.replaying import Progress

__all__ = ["Verdict", "verify_lookahead", "verify_replay", "verify_warmup"]

FLOW_AGE_NS: Final = 7_200 * SECOND_NS  # the greatest the scorer tells apart
_PAGE_ROWS: Final = 65_536


class Verdict(NamedTuple):
    """One comparison: what was compared, how much of it, and whether it was the same."""

    what: str
    compared: str
    expected: str | None
    actual: str | None

    @property
    def held(self) -> bool:
        """Whether both sides were the same."""
        return self.expected == self.actual


def verify_replay(
    run: Path, recording: Recording, progress: Progress | None = None
) -> Iterator[Verdict]:
    """Replay a run's record; compare its digests with those recorded, and those of its files."""
    digests = RunDigests()
    _replay(recording, digests, progress)
    found = digests.found
    in_files = _file_digests(run)
    for name, recorded in recording.found.items():
        yield Verdict(f"{name}, replayed", "whole record", recorded, found.get(name))
        if name in in_files:
            yield Verdict(f"{name}, of the file", "whole file", recorded, in_files[name])


def _replay(recording: Recording, digests: RunDigests, progress: Progress | None) -> None:
    """Replay a recording into digests, a live session's with its journal."""
    if recording.live_record is None:
        Rerun(recording, deliver=digests.update).run(progress)
        return
    reader, history = RecordReader(recording.live_record), recording.history
    reader.verify()
    engine = make_engine(recording.settings, history)
    play_record(reader, engine, Drain(engine, digests.update), progress)
    if history is not None:
        recording.check_baselines(history.digests)


def verify_lookahead(
    recording: Recording,
    *,
    cuts: int = 3,
    seed: int = 1,
    definitions: bool = False,
    progress: Progress | None = None,
) -> Iterator[Verdict]:
    """Compare what came before T with a record that ends at T, for several T.

    Every other T lies 1 ns after a signal's instant, if there are any. Files of definitions are
    reference data, of which an id's first definition holds from the beginning of its day; with
    `definitions` they end at T as well, and what they said beforehand shows.
    """
    lateness_ns = recording.settings.profile.lateness_ns
    whole = Rerun(recording)
    whole.run(progress)
    windows, signals = whole.frame("windows"), whole.frame("signals")
    for cut_ns in _choose_cuts(windows, signals, cuts, seed):
        make = partial(_EndingEngine, end_ns=cut_ns)
        ignored_ns = cut_ns if definitions else None
        rerun = Rerun(recording, make, ignore_from_ns=ignored_ns)
        try:
            for _ in rerun.chunks(progress):
                pass
        except _EndError:
            pass
        rerun.take()
        until_ns = rerun.engine.watermark_ns
        yield from _compare(
            f"cut at {_clock(cut_ns)}",
            (windows, rerun.frame("windows"), _ns("window_end") <= until_ns - lateness_ns),
            (signals, rerun.frame("signals"), _ns("timestamp") <= until_ns),
        )


def verify_warmup(
    recording: Recording, *, starts: int = 3, seed: int = 1, progress: Progress | None = None
) -> Iterator[Verdict]:
    """Compare what has converged, with the stream begun later and with more or less history."""
    profile = recording.settings.profile
    whole = Rerun(recording)
    whole.run(progress)
    windows, signals = whole.frame("windows"), whole.frame("signals")
    memory_ns = FLOW_AGE_NS + profile.cooldown_ns
    for start_ns in _choose_starts(windows, signals, memory_ns, starts, seed):
        rerun = Rerun(recording, partial(_BeginningEngine, start_ns=start_ns))
        rerun.run(progress)
        yield from _compare(
            f"begun at {_clock(start_ns)}",
            (windows, rerun.frame("windows"), _ns("window_start") >= start_ns),
            (signals, rerun.frame("signals"), _ns("episode_start") >= start_ns + memory_ns),
        )
    if recording.baselines is not None:
        yield from _compare_history(recording, profile.lookback_days)


class _EndError(Exception):
    """The record ends here."""


class _EndingEngine(FlowEngine):
    """An engine whose record ends before the first timely event at `end_ns` or later."""

    def __init__(self, *arguments: Any, end_ns: int, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._end_ns = end_ns

    def _advance(self, stop: int) -> None:
        ring = self.state.ring
        start = int(ring.cursor[CONSUMED])
        late = np.flatnonzero(timely_ns(ring, ring_places(ring, start, stop)) >= self._end_ns)
        super()._advance(start + int(late[0]) if late.size else stop)
        if late.size:
            raise _EndError


class _BeginningEngine(FlowEngine):
    """An engine whose event time begins at `start_ns`: what came before is for the book alone."""

    def __init__(self, *arguments: Any, start_ns: int, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._start_ns = start_ns

    def _advance(self, stop: int) -> None:
        ring = self.state.ring
        if self.watermark_ns < 0:
            places = ring_places(ring, int(ring.cursor[CONSUMED]), stop)
            before = places[ring.ts_event_ns[places] < self._start_ns]
            ring.flags[before] |= F_BAD_TS_RECV
        super()._advance(stop)


def _compare(
    what: str,
    windows: tuple[pl.DataFrame, pl.DataFrame, pl.Expr],
    signals: tuple[pl.DataFrame, pl.DataFrame, pl.Expr],
) -> Iterator[Verdict]:
    """Compare (expected, actual, which of them) of windows and signals by their digests."""
    expected, actual, which = windows
    pair = [frame.filter(which) for frame in (expected, actual)]
    digests = [_rows_digest(frame) for frame in pair]
    yield Verdict(f"windows, {what}", f"{pair[0].height:,} rows", digests[0], digests[1])
    expected, actual, which = signals
    pair = [frame.filter(which) for frame in (expected, actual)]
    digests = [_signals_digest(frame) for frame in pair]
    yield Verdict(f"signals, {what}", f"{pair[0].height:,} rows", digests[0], digests[1])


def _compare_history(recording: Recording, lookback: int) -> Iterator[Verdict]:
    """Compare estimates with those of a store that holds nothing else than their sessions."""
    import datetime as dt

    for text in recording.document.get("baselines", {}):
        date = dt.date.fromisoformat(text)
        whole = _estimate(recording.baselines, date, lookback)
        for depth in sorted({min(lookback, whole.sessions), max(1, whole.sessions // 2)}):
            expected = whole if depth == lookback else _estimate(recording.baselines, date, depth)
            actual = _estimate(recording.baselines, date, depth, alone=True)
            compared = f"{len(expected.cells):,} cells"
            what = f"baselines of {text}, {depth} sessions alone"
            yield Verdict(what, compared, _arrays_text(expected), _arrays_text(actual))


def _estimate(store: Path | None, date: dt.date, lookback: int, *, alone: bool = False) -> Arrays:
    """Estimate from a store, or from a copy without all other sessions than the lookback's."""
    from ifd_fast.baseline_estimates import estimate
    from ifd_fast.baseline_store import SESSION_TABLES, open_store

    assert store is not None  # noqa: S101  # for the type checker
    with tempfile.TemporaryDirectory(prefix="ifd-verify-") as folder:
        path = store
        if alone:
            path = Path(folder) / "store.duckdb"
            shutil.copyfile(store, path)
            with open_store(path, write=True) as connection:
                kept = connection.execute(
                    "SELECT trade_date FROM coverage WHERE trade_date < ? "
                    "ORDER BY trade_date DESC LIMIT ?",
                    [date, lookback],
                ).fetchall()
                for table in SESSION_TABLES:
                    query = f"DELETE FROM {table} WHERE trade_date NOT IN ?"  # noqa: S608  # ours
                    connection.execute(query, [[row[0] for row in kept]])
        with open_store(path) as connection:
            return estimate(connection, date, lookback)


def _arrays_text(arrays: Arrays) -> str:
    """Return a digest of all that estimates hold."""
    digest = hashlib.sha256()
    for part in _bytes_of(arrays):
        digest.update(part)
    return digest.hexdigest()


def _bytes_of(value: object) -> Iterator[bytes]:
    """Yield the bytes of a value and of all it is made of."""
    if isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape}".encode()
        yield value.tobytes()
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from _bytes_of(getattr(value, one.name))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _bytes_of(part)
    else:
        yield repr(value).encode()


def _choose_cuts(windows: pl.DataFrame, signals: pl.DataFrame, count: int, seed: int) -> list[int]:
    """Return the T: within a window of the later three quarters, or just after a signal."""
    ends = windows["window_end"].cast(pl.Int64).unique().sort().to_list()
    if not ends:
        raise DataError("The record gives no window: there is nothing to compare.")
    instants = signals["timestamp"].cast(pl.Int64).unique().sort().to_list()
    draw = random.Random(seed)  # noqa: S311  # a seed, not a secret
    cuts = []
    for number in range(count):
        if number % 2 == 0 and instants:
            cuts.append(draw.choice(instants) + 1)
        else:
            cuts.append(draw.choice(ends[len(ends) // 4 :]) - draw.randrange(300 * SECOND_NS))
    return cuts


def _choose_starts(
    windows: pl.DataFrame, signals: pl.DataFrame, memory_ns: int, count: int, seed: int
) -> list[int]:
    """Return when streams begin: on window edges, early enough that a signal follows if any can."""
    edges = windows["window_start"].cast(pl.Int64).unique().sort().to_list()
    if not edges:
        raise DataError("The record gives no window: there is nothing to compare.")
    episodes = signals["episode_start"].cast(pl.Int64)
    last_ns = int(episodes.max() or 0) - memory_ns  # type: ignore[arg-type]  # Int64 is int
    early = [edge for edge in edges if edge <= last_ns] or edges[: len(edges) // 2 + 1]
    draw = random.Random(seed)  # noqa: S311  # a seed, not a secret
    return [draw.choice(early) for _ in range(count)]


def _file_digests(run: Path) -> dict[str, str | None]:
    """Return the digests of the rows in a run's files, of those that are there."""
    found: dict[str, str | None] = {}
    windows, signals = run / "windows.parquet", run / "signals.parquet"
    if windows.is_file():
        rows = RowDigest()
        _read(windows, rows.update)
        found |= {"rows_digest": rows.rows_digest, "facts_digest": rows.facts_digest}
    if signals.is_file():
        digest = SignalDigest()
        _read(signals, digest.update)
        found["signals_digest"] = digest.signals_digest
    return found


def _read(path: Path, take: Callable[[pl.DataFrame], object]) -> None:
    try:
        for page in pl.read_parquet(path).iter_slices(_PAGE_ROWS):
            take(page)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: can't be read: {error}.") from None


def _rows_digest(frame: pl.DataFrame) -> str | None:
    digest = RowDigest()
    digest.update(frame)
    return digest.rows_digest


def _signals_digest(frame: pl.DataFrame) -> str | None:
    digest = SignalDigest()
    digest.update(frame)
    return digest.signals_digest


def _ns(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Int64)


def _clock(ts_ns: int) -> str:
    seconds, rest = divmod(ts_ns, SECOND_NS)
    return f"{np.datetime64(seconds, 's')}.{rest:09}"
