"""From nothing to signals in about a minute: no key, no network, no real data.

Twenty simulated sessions become the history; in one more, metaorders are hidden in four options:
calls and puts, bought and sold. It is replayed as any file would be, and its alerts are held
against what was hidden. All of it follows from the seed. The last session's profile promises
fewer false alerts than the default one: at one a session, one beside what was hidden is usual.
"""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import polars as pl

from ifd_fast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ifd_fast.calendar import Session
    from ifd_fast.simulation import Plant

__all__ = [
    "Demonstration",
    "Hidden",
    "Scale",
    "Watcher",
    "demonstrate",
    "make_session",
    "reason_of",
]

PROFILE: Final = "ifd_v3_production"
PROMISED: Final = 0.1  # false alerts a session of ordinary flow
STRICT: Final = f"""\
base = "{PROFILE}"
[scoring]
false_alerts_per_session = {PROMISED}
"""
HIDE: Final = (("C", "BUY"), ("P", "SELL"), ("C", "SELL"), ("P", "BUY"))
MIN_DAYS: Final = 21  # from the session to the expiration of what is hidden in
MIN_SESSIONS: Final = 10  # in which it traded


class Scale(NamedTuple):
    """How big a demonstration is."""

    preset: str = "demo"  # one world for all sessions, so that the history is the last one's own
    first_date: dt.date = dt.date(2026, 1, 5)
    sessions: int = 20
    usual_trades: tuple[int, int] = (100, 1_000)  # of the options to hide in, last five sessions
    start_s: int = 57_600  # of the first metaorder, 16 hours after the open: 9:00 in Chicago
    apart_s: int = 1_500  # from one's start to the next's
    duration_s: int = 900
    contracts: int = 240
    children: int = 80
    workers: int = 2  # processes, at most, that make the history


class Watcher(Protocol):
    """Who shows how far a demonstration is."""

    def session_made(self, number: int, of: int) -> None:
        """Take note that a session of history is simulated, replayed and taken in."""

    def hidden(self, metaorders: Sequence[Hidden]) -> None:
        """Take what is hidden where, before the session is replayed."""

    def alert(self, signal: dict[str, Any]) -> None:
        """Take an alert, as it comes."""


@dataclass
class Hidden:
    """A metaorder that was hidden, and when it was found."""

    symbol: str
    side: str
    start_ns: int
    end_ns: int
    contracts: int
    found_after_s: float | None = None
    traded_by_then: int | None = None  # contracts


@dataclass(frozen=True)
class Demonstration:
    """What was hidden; the first alert of each episode; those of them that found nothing hidden."""

    seed: int
    trade_date: dt.date
    records: int
    hidden: list[Hidden]
    alerts: list[dict[str, Any]]
    false: list[dict[str, Any]]
    run: Path
    promised: float = PROMISED  # false alerts a session of ordinary flow
    live: dict[str, Any] | None = None  # what a live session said of itself; None: it was replayed

    @property
    def found(self) -> int:
        """How many of the hidden metaorders were found."""
        return sum(one.found_after_s is not None for one in self.hidden)

    def to_json(self) -> dict[str, Any]:
        """Return all of it ready for JSON; of each alert what a reader wants."""
        return {
            "seed": self.seed,
            "trade_date": self.trade_date.isoformat(),
            "records": self.records,
            "hidden": [asdict(one) for one in self.hidden],
            "alerts": [_short(one) for one in self.alerts],
            "found": self.found,
            "missed": len(self.hidden) - self.found,
            "false": len(self.false),
            "promised_false_per_session": self.promised,
            "run": str(self.run),
            "live": self.live,
        }


def demonstrate(
    folder: Path, seed: int, watcher: Watcher, scale: Scale | None = None, *, live: bool = False
) -> Demonstration:
    """Simulate, replay, and compare, with all files in `folder`, which must be empty or new.

    `live`: the session is served by our gateway, taken by a live session, and its record replayed.
    Raises UsageError if the folder holds anything.
    """
    from ifd_fast.demonstration_live import play_live
    from ifd_fast.replaying import replay
    from ifd_fast.simulated_files import pick_sessions

    scale = scale or Scale()
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"`--out` must be an empty or new folder, was {str(folder)!r}.")
    store = folder / "baselines.duckdb"
    days = pick_sessions(scale.first_date, scale.sessions + 1)
    runs = _make_history(folder, store, seed, days[:-1], watcher, scale)
    plants = _pick_plants(runs, days[-1], scale)
    files, hidden = _simulate_plants(folder / "session", seed, days[-1], plants, scale.preset)
    watcher.hidden(hidden)

    def tell(signals: pl.DataFrame) -> None:
        for signal in signals.filter("alert").to_dicts():
            watcher.alert(signal)

    profile = folder / "profile.toml"
    profile.write_text(STRICT, "utf-8")
    end = None
    if live:
        result, end = play_live(files, profile, store, folder, lambda one: _tell(watcher, one))
    else:
        out = folder / "run"
        result = replay(files, profile=profile, baselines=store, out=out, on_signals=tell)
    first = result.signals.filter("alert").sort("timestamp").unique("signal_id", keep="first")
    first = first.sort("timestamp", "instrument_id")
    listed = result.instruments
    ids = dict(zip(listed["symbol"].to_list(), listed["instrument_id"].to_list(), strict=True))
    false = _compare(hidden, first, ids, folder / "session")
    alerts = first.to_dicts()
    records = int(result.counts["records"])
    return Demonstration(
        seed, days[-1].trade_date, records, hidden, alerts, false, folder / "run", live=end
    )


def _tell(watcher: Watcher, signal: dict[str, Any]) -> None:
    if signal["alert"]:
        watcher.alert(signal)


def reason_of(alert: dict[str, Any]) -> str:
    """Say in words what an alert stands on."""
    minutes = alert["evidence_window_s"] // 60
    return (
        f"in 5 min {alert['ask_volume']} contracts lifted the ask, {alert['bid_volume']} hit the "
        f"bid; {alert['votes_for']:.0f} votes for, {alert['votes_against']:.0f} against in "
        f"{minutes} min, {alert['expected_for']:.2g} usual"
    )


def make_session(folder: Path, seed: int, preset: str, session: Session) -> Path:
    """Simulate one session of history and replay it to facts; return the run's folder."""
    from ifd_fast.replaying import replay
    from ifd_fast.simulated_files import write_session
    from ifd_fast.world import load_world

    written = write_session(load_world(preset), seed, session, folder / "history", compress=False)
    run = folder / "history" / f"{session.trade_date:%Y%m%d}"
    replay(written.path, definitions=[written.definitions], profile=PROFILE, out=run)
    written.path.unlink()  # 20 MB each, and only its facts are wanted
    return run


def _make_history(
    folder: Path, store: Path, seed: int, days: Sequence[Session], watcher: Watcher, scale: Scale
) -> list[Path]:
    """Make all sessions of history, and take each into the store while the next are made.

    Nobody else reads the store until then, so it stays open: opening and closing it for each
    session took a third of the time.
    """
    from ifd_fast.baseline_ingest import ingest_session, read_sources
    from ifd_fast.baseline_store import open_store

    runs: list[Path] = []
    with open_store(store, write=True) as connection:
        for run in _play_history(folder, seed, days, scale):
            for source in read_sources(run):
                ingest_session(connection, source)
            runs.append(run)
            watcher.session_made(len(runs), len(days))
    return runs


def _play_history(folder: Path, seed: int, days: Sequence[Session], scale: Scale) -> Iterator[Path]:
    """Make sessions in their order, two at a time where there are two processors."""
    workers = min(scale.workers, os.cpu_count() or 1)
    work = partial(make_session, folder, seed, scale.preset)
    if workers == 1:
        yield from map(work, days)
        return
    context = multiprocessing.get_context("spawn")  # a fork would share numba's and polars' threads
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(work, days)


def _pick_plants(runs: Sequence[Path], session: Session, scale: Scale) -> list[Plant]:
    """Return what to hide: in options of usual activity, well known, not expiring soon."""
    from ifd_fast.simulation import Plant

    facts = pl.concat([pl.read_parquet(run / "facts.parquet") for run in runs])
    last = session.trade_date - dt.timedelta(days=1)
    recent = pl.col("trade_date") > pl.lit(last) - pl.duration(days=7)
    expires = pl.col("expiration").dt.date()
    usual = (
        facts.filter(
            pl.col("option_type").is_in(["C", "P"]),
            expires > pl.lit(last) + pl.duration(days=MIN_DAYS),
        )
        .group_by("symbol", "option_type")
        .agg(
            pl.col("total_trades").filter(recent).sum().alias("trades"),
            pl.col("trade_date").n_unique().alias("sessions"),
        )
        .filter(
            pl.col("trades").is_between(*scale.usual_trades), pl.col("sessions") >= MIN_SESSIONS
        )
        .sort("trades", "symbol")
    )
    plants = []
    for number, (kind, side) in enumerate(HIDE):
        names = usual.filter(pl.col("option_type") == kind)["symbol"].to_list()
        place = (1 + number // 2) * len(names) // 3  # one and two thirds of the way up
        start_s = scale.start_s + number * scale.apart_s
        times = (start_s, scale.duration_s, scale.contracts, scale.children)
        plants.append(Plant(names[place], side, *times))
    return plants


def _simulate_plants(
    folder: Path, seed: int, session: Session, plants: Sequence[Plant], preset: str
) -> tuple[list[Path], list[Hidden]]:
    from ifd_fast.simulated_files import write_session
    from ifd_fast.world import load_world

    written = write_session(load_world(preset), seed, session, folder, plants=plants)
    hidden = []
    for plant in plants:
        start_ns = session.open_ns + round(plant.start_s * 1e9)
        end_ns = start_ns + round(plant.duration_s * 1e9)
        hidden.append(Hidden(plant.symbol, plant.side, start_ns, end_ns, plant.contracts))
    return [written.path, written.definitions], hidden


def _compare(
    hidden: Sequence[Hidden], alerts: pl.DataFrame, ids: dict[str, int], folder: Path
) -> list[dict[str, Any]]:
    """Note when each metaorder was found; return the alerts that found none.

    `ids`: instrument of each symbol; `folder` holds the simulator's truth.
    """
    from ifd_fast.matching import match_alerts, normalize_signals

    truth = pl.DataFrame(
        [
            {
                "session": 0,
                "label_id": number,
                "cluster_id": None,
                "kind": "metaorder",
                "positive": True,
                "instrument_id": ids[one.symbol],
                "side": 1 if one.side == "BUY" else -1,
                "start": one.start_ns,
                "end": one.end_ns,
            }
            for number, one in enumerate(hidden)
        ],
        schema_overrides={
            **dict.fromkeys(("session", "label_id", "cluster_id"), pl.Int32()),
            "instrument_id": pl.UInt32(),
            "side": pl.Int8(),
        },
    )
    matched = match_alerts(normalize_signals(alerts, 0, keep=("signal_id",)), truth)
    (path,) = folder.glob("*.truth.json")
    plants = json.loads(path.read_text())["plants"]
    for unit in matched.units.filter("found").to_dicts():
        one, children = hidden[unit["label_id"]], plants[unit["label_id"]]["trades"]
        before = [child for child in children if child["ts_event_ns"] < unit["found_ns"]]
        one.found_after_s = round(unit["delay_s"], 3)
        one.traded_by_then = sum(child["filled"] for child in before)
    false = matched.alerts.filter(pl.col("unit").is_null())["signal_id"]
    return alerts.filter(pl.col("signal_id").is_in(false.implode())).to_dicts()


def _short(alert: dict[str, Any]) -> dict[str, Any]:
    names = ("symbol", "dominant_side", "final_confidence", "signal_strength", "quality")
    return {
        "signal_id": alert["signal_id"],
        "timestamp": alert["timestamp"].isoformat(),
        **{name: alert[name] for name in names},
        "reason": reason_of(alert),
    }
