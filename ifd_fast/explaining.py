"""A signal rebuilt from the record, the settings and the baselines alone.

The record is run twice: once to find the signal, up to where it is certain, and once to look at
its trades and its book. What `ifd replay` wrote of it is read last, for comparison only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import polars as pl

from ifd_fast.digests import SignalDigest
from ifd_fast.errors import DataError, UsageError
from ifd_fast.rerunning import KeepingEngine, Rerun
from ifd_fast.signal_ids import SignalId, check_rules, parse_id
from ifd_fast.witnessing import Standing, Trade, Wanted, WitnessEngine
from ifd_kernels.evidence import CHANNEL_A, CHANNEL_B60, CHANNEL_C, GRAIN_S
from ifd_kernels.layout import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ifd_fast.recordings import Recording
    from ifd_fast.replaying import Progress

__all__ = [
    "Explanation",
    "Reproduced",
    "differing_fields",
    "explain",
    "reproduce",
    "stored_signals",
]

_FLOW_AGE_NS: Final = 7_200 * SECOND_NS  # the greatest the scorer tells apart
_CAPS: Final = {CHANNEL_A: 1, CHANNEL_C: 10}  # votes a second and side
_REPORT_NS: Final = 300 * SECOND_NS
_IDS_NAMED: Final = 3


class Reproduced(NamedTuple):
    """All signals of a recording, found anew: as users see them, and as the kernel wrote them."""

    frame: pl.DataFrame
    rows: NDArray[np.void]
    signals_digest: str | None


@dataclass(frozen=True)
class Explanation:
    """One signal with everything it stands on.

    Attributes
    ----------
    signal, row
        The row as users get it, and as the kernel wrote it, both by field.
    episode
        (instant, alert) of each row of the same id up to this one.
    trades
        Counted trades of the longest window before the instant, of all sides.
    standing
        Book and expectations at the instant.
    last_window
        The last finished window row of the instrument; None if it has none.
    digests
        Of record, settings, code and baselines.
    """

    signal: dict[str, Any]
    row: dict[str, Any]
    episode: list[tuple[int, bool]]
    trades: list[Trade]
    standing: Standing
    last_window: dict[str, Any] | None
    digests: dict[str, Any]
    settings: dict[str, Any] = field(repr=False)

    @property
    def instant_ns(self) -> int:
        """The scoring instant of the row."""
        return int(self.row["instant_ns"])

    def trades_within(self, window_s: int) -> list[Trade]:
        """Return the trades that a rolling window of so many seconds held at the instant."""
        after_ns = self.instant_ns - window_s * SECOND_NS
        return [one for one in self.trades if one.scored_ns > after_ns]

    def votes_within(self, window_s: int, channel: int) -> int:
        """Return the votes of both sides in the trades of a window, before the pair filter.

        Contracts of one second and side count up to the channel's cap, in the order in which they
        came; channel B counts the stretches of 5, 15 or 60 s in which a side traded.
        """
        after_ns = self.instant_ns - window_s * SECOND_NS
        if channel not in _CAPS:
            unit_ns = GRAIN_S[channel - CHANNEL_B60] * SECOND_NS
            near = (one for one in self.trades if one.side and one.scored_ns > after_ns)
            return len({(one.ts_event_ns // unit_ns, one.side) for one in near})
        cap = _CAPS[channel]
        contracts: dict[tuple[int, str], int] = {}
        votes = 0
        for one in self.trades:
            if one.side is not None:
                key = (one.ts_event_ns // SECOND_NS, one.side)
                before = contracts.get(key, 0)
                contracts[key] = before + one.size
                if one.scored_ns > after_ns:
                    votes += min(before + one.size, cap) - min(before, cap)
        return votes

    def checks(self) -> list[tuple[str, bool]]:
        """Return what was counted again from the trades, and whether it gave the same."""
        near = self.trades_within(_REPORT_NS // SECOND_NS)
        bought = sum(one.size for one in near if one.side == "BUY")
        sold = sum(one.size for one in near if one.side == "SELL")
        row = self.row
        counted = self.votes_within(row["window_s"], row["channel"])
        used = row["votes_for"] + row["votes_against"]
        return [
            (f"{bought} contracts lifted the ask in 300 s", bought == row["ask_volume"]),
            (f"{sold} contracts hit the bid in 300 s", sold == row["bid_volume"]),
            (f"{counted} votes in {row['window_s']} s, {used:g} not paired", used <= counted),
        ]


def reproduce(recording: Recording, progress: Progress | None = None) -> Reproduced:
    """Return all signals of a recording, found anew."""
    rerun = Rerun(recording, KeepingEngine, wanted=("signals",))
    rerun.run(progress)
    return _reproduced(rerun)


def explain(
    ids: Sequence[str],
    recording: Recording,
    *,
    at: str = "alert",
    progress: Progress | None = None,
) -> list[Explanation]:
    """Rebuild signals by their ids, in the order of `ids`.

    An id names an episode, which may have several rows: `at` picks its first alert (its first
    row if none alerted), "first" its first row, "all" all of them in order of time.

    Raises
    ------
    UsageError, ConfigError
        An id is none, or unknown to this record, or made by other settings: which is named.
    DataError
        The record, or the baselines, are not those of the run.
    """
    wanted = [parse_id(text) for text in ids]
    for one in wanted:
        check_rules(one, recording)
    found = _find(wanted, recording, at, progress)
    chosen = [(one, place) for one in wanted for place in _choose(one, found, at)]
    seen, windows = _witness(recording, found, [place for _, place in chosen], progress)
    return [_compose(recording, found, place, seen, windows) for _, place in chosen]


def stored_signals(run: Path | None) -> pl.DataFrame | None:
    """Return what a run wrote of its signals, None if the file is gone."""
    path = None if run is None else Path(run) / "signals.parquet"
    if path is None or not path.is_file():
        return None
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: can't be read: {error}.") from None


def _reproduced(rerun: Rerun) -> Reproduced:
    frame = rerun.frame("signals")
    engine = rerun.engine
    assert isinstance(engine, KeepingEngine)  # noqa: S101  # for the type checker
    rows = [one for one in engine.kept if len(one)] or engine.kept[:1]
    digest = SignalDigest()
    digest.update(frame)
    return Reproduced(frame, np.concatenate(rows), digest.signals_digest)


def _find(
    wanted: Sequence[SignalId], recording: Recording, at: str, progress: Progress | None
) -> Reproduced:
    """Run until every wanted row is certain; raise UsageError for an id that never came."""
    rerun = Rerun(recording, KeepingEngine, wanted=("signals",))
    patience_ns = 2 * recording.settings.profile.cooldown_ns + _FLOW_AGE_NS
    waiting = {one.text: one for one in wanted}
    latest = {one.text: one.first_ns for one in wanted}  # the last row so far
    for _ in rerun.chunks(progress):
        if rerun.engine.signals_pending:
            rerun.take()
        frame = rerun.frame("signals")
        for text, one in list(waiting.items()):
            rows = frame.filter(pl.col("signal_id") == text)
            if rows.height:
                latest[text] = int(rows["timestamp"].cast(pl.Int64)[-1])
                enough = at == "first" or (at == "alert" and bool(rows["alert"].any()))
                over = rerun.engine.watermark_ns > latest[text] + patience_ns
                if enough or over:
                    del waiting[text]
            elif rerun.engine.watermark_ns > one.first_ns:
                raise _unknown(one, frame)
        if not waiting:
            break
    else:
        rerun.close()
        frame = rerun.frame("signals")
        for text, one in waiting.items():
            if not frame["signal_id"].eq(text).any():
                raise _unknown(one, frame)
    return _reproduced(rerun)


def _unknown(wanted: SignalId, frame: pl.DataFrame) -> UsageError:
    near = frame.filter(pl.col("instrument_id") == wanted.instrument_id)["signal_id"].unique()
    known = f"Those of the instrument: {', '.join(near.sort().to_list()[:_IDS_NAMED])}."
    return UsageError(
        f"No signal {wanted.text} comes out of this record. "
        + (known if near.len() else "The instrument has none until then.")
    )


def _choose(wanted: SignalId, found: Reproduced, at: str) -> list[int]:
    """Return which rows are to be explained, by place."""
    places = np.flatnonzero((found.frame["signal_id"] == wanted.text).to_numpy())
    if at == "all":
        return [int(place) for place in places]
    alerts = [int(place) for place in places if found.frame["alert"][int(place)]]
    return [alerts[0] if alerts and at == "alert" else int(places[0])]


def _witness(
    recording: Recording, found: Reproduced, places: Sequence[int], progress: Progress | None
) -> tuple[WitnessEngine, pl.DataFrame]:
    """Run again, looking at the chosen rows; return the engine and the finished windows."""
    wanted = [_wanted(found, place) for place in places]
    rerun = Rerun(recording, partial(WitnessEngine, wanted=wanted))
    engine = rerun.engine
    assert isinstance(engine, WitnessEngine)  # noqa: S101  # for the type checker
    for _ in rerun.chunks(progress):
        if engine.done:
            break
    else:
        rerun.close()
    rerun.take()
    if not engine.done:
        raise DataError("The record ended before a signal it gave a moment ago. It was changed.")
    return engine, rerun.frame("windows")


def _wanted(found: Reproduced, place: int) -> Wanted:
    row = found.rows[place]
    return Wanted(int(row["slot"]), int(row["instant_ns"]))


def _compose(
    recording: Recording,
    found: Reproduced,
    place: int,
    seen: WitnessEngine,
    windows: pl.DataFrame,
) -> Explanation:
    wanted, row = _wanted(found, place), found.rows[place]
    signal = found.frame.row(place, named=True)
    until = found.frame.head(place + 1)
    same = until.filter(pl.col("signal_id") == signal["signal_id"])
    instants = same["timestamp"].cast(pl.Int64).to_list()
    mine = (pl.col("instrument_id") == signal["instrument_id"]) & (
        pl.col("window_end").cast(pl.Int64) <= wanted.instant_ns
    )
    before = windows.filter(mine).tail(1).to_dicts()
    longest_ns = wanted.instant_ns - max(1800, int(row["window_s"])) * SECOND_NS
    trades = [
        one for one in seen.trades[wanted.slot] if longest_ns < one.scored_ns <= wanted.instant_ns
    ]
    date = signal["trade_date"].isoformat()
    recorded = recording.file_digests
    return Explanation(
        signal,
        {name: row[name].tolist() for name in row.dtype.names or ()},
        list(zip(instants, same["alert"].to_list(), strict=True)),
        sorted(trades, key=lambda one: (one.scored_ns, one.ts_event_ns)),
        seen.standing[wanted],
        before[0] if before else None,
        {
            "record": {str(path): recorded.get(str(path)) for path in recording.files},
            "config": recording.settings.digest,
            "rules": recording.rules_digest,
            "code": signal["code_digest"],
            "baselines": {} if seen.history is None else {date: _digest_of(seen, date)},
        },
        recording.settings.profile.tree(),
    )


def _digest_of(seen: WitnessEngine, date: str) -> str | None:
    digest: str | None = getattr(seen.history, "digests", {}).get(date)
    return digest


def differing_fields(one: Explanation, stored: pl.DataFrame) -> list[str]:
    """Return the fields in which a run's own row differs; all of them if it has no such row."""
    same = (pl.col("signal_id") == one.signal["signal_id"]) & (
        pl.col("timestamp").cast(pl.Int64) == one.instant_ns
    )
    rows = stored.filter(same)
    if not rows.height:
        return list(one.signal)
    row = rows.row(0, named=True)
    return [name for name, value in one.signal.items() if row[name] != value]
