"""A sealed session scored again gives the signals of its replay, to the last byte.

Method: a session of bursts of one-sided flow in six options, against twenty sessions of history,
over a thousand signals; into it go what a scorer could meet: ids that are given to other options,
options that are defined in mid-session, trades of unknown ids, halts, books that are cleared and
books that are suspect, each at random times. The replay is the oracle.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from ifd_fast.calendar import load_sessions
from ifd_fast.collecting import ReplayResult
from ifd_fast.config import Settings, load_settings
from ifd_fast.errors import DataError, UsageError
from ifd_fast.histories import StoreHistory
from ifd_fast.replaying import replay
from ifd_fast.rescoring import read_sealed, score_sealed
from ifd_fast.sealed_files import DayFolders, partition_of, read_done
from ifd_fast.sealed_replay import seal_files
from ifd_fast.sealing import BURIED, NAMED, SealingEngine
from ifd_fast.thresholds import score_many
from tests.strategies_interface import (
    CHAIN,
    OPEN,
    SECOND,
    TODAY,
    definitions,
    event,
    head,
    store,
)
from tests.strategies_quality import status
from tests.strategies_runs import bursts, recorded_run, timed_bursts
from tests.strategies_wire import mbo

pytestmark = [pytest.mark.jit, pytest.mark.slow]

OPTIONS = [one for one in CHAIN if one.instrument_class in {"C", "P"}]
MAYBE_BAD_BOOK = 0x80 | 0x04
SEEDS = 6


@cache
def history() -> StoreHistory:
    """Return the baselines that all are scored with, estimated once."""
    return StoreHistory(store(), settings().profile)


def settings() -> Settings:
    """Return the settings of the recorded run."""
    return load_settings(recorded_run().parent / "profile.toml")


def seal(data: bytes, folder: Path) -> list[dict[str, Any]]:
    """Seal the sessions of a stream into `folder`."""
    path = folder / "stream.dbn"
    path.write_bytes(data)
    with DayFolders(folder / "sealed", "NQ", {}) as folders:
        return seal_files([path], settings(), folders, {"key": "made by this"})[0]


def score(folder: Path) -> pl.DataFrame:
    """Score the sealed session in `folder` again."""
    calendar = load_sessions(settings().profile.calendar)
    day = partition_of(folder / "sealed", "NQ", TODAY.trade_date)
    sealed = read_sealed(day, TODAY.trade_date, calendar)
    arrays = history().arrays_for(TODAY.trade_date)
    return score_sealed(sealed, arrays, settings().profile, calendar)


def play(data: bytes, folder: Path) -> ReplayResult:
    """Replay a stream from memory to memory."""
    path = folder / "again.dbn"
    path.write_bytes(data)
    return replay(path, profile=recorded_run().parent / "profile.toml", baselines=store())


def disturbed(seed: int) -> bytes:
    """Return the bursts with what a feed does besides."""
    draw = random.Random(seed)
    timed = timed_bursts()
    last_s = timed[-1][0]

    def at() -> float:
        return draw.uniform(3_700, last_s)

    for number in range(3):  # an id begins to mean another option; both trade
        option, when = draw.choice(OPTIONS), at()
        strike = option.strike + 500.0 * (number + 1) + seed
        symbol = f"NQH6 {option.instrument_class}{strike:.0f}"
        other = option._replace(symbol=symbol, strike=strike)
        timed.append((when, definitions([other], OPEN + round(when * SECOND))))
    for number in range(4):  # an id that is defined only after its trades
        fresh, when = 900 + number, at()
        option = draw.choice(OPTIONS)._replace(
            instrument_id=fresh, symbol=f"NQH6 C{30_000 + number}",
            strike=30_000.0 + number, instrument_class="C",
        )  # fmt: skip
        timed += [(when + n, event(when + n, fresh, draw.choice("AB"), 3)) for n in range(40)]
        timed.append((when + 20.5, definitions([option], OPEN + round((when + 20.5) * SECOND))))
    for _ in range(6):
        option, when = draw.choice(OPTIONS), at()
        ts_event = OPEN + round(when * SECOND)
        halt = status(ts_event, trading=False, instrument_id=option.instrument_id)
        go = status(ts_event + 400 * SECOND, trading=True, instrument_id=option.instrument_id)
        timed += [(when, halt), (when + 400, go)]
    for action, flags in (("R", 0x80), ("A", MAYBE_BAD_BOOK), ("R", 0x80), ("A", MAYBE_BAD_BOOK)):
        when = at()
        ts_event = OPEN + round(when * SECOND)
        record = mbo(
            action=action, flags=flags, order_id=draw.randrange(1, 10**6), size=3, side="B",
            instrument_id=draw.choice(OPTIONS).instrument_id, price=5 * 10**9,
            ts_event=ts_event, ts_recv=ts_event + 100_000,
        )  # fmt: skip
        timed.append((when, record))
    timed.sort(key=lambda one: one[0])
    return head() + definitions() + b"".join(data for _, data in timed)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_signals_are_the_replays(tmp_path: Path, seed: int) -> None:
    """Whatever the feed does in mid-session: the very bytes of every column, rows included."""
    data = disturbed(seed) if seed else bursts()
    expected = play(data, tmp_path)
    (session,) = seal(data, tmp_path)
    assert expected.signals.height >= 800
    assert score(tmp_path).equals(expected.signals)
    assert session["rows_digest"] == expected.rows_digest
    assert session["windows_facts_digest"] == expected.facts_digest
    changes = pl.read_parquet(
        partition_of(tmp_path / "sealed", "NQ", TODAY.trade_date) / "changes.parquet"
    )
    kinds = set(changes["kind"])
    assert seed == 0 or {NAMED, BURIED} <= kinds  # or the test would prove little


def test_marks_decide_grades(tmp_path: Path) -> None:
    """Without what was logged of halts and suspect books, other signals come out."""
    data = disturbed(1)
    seal(data, tmp_path)
    expected = score(tmp_path)
    day = partition_of(tmp_path / "sealed", "NQ", TODAY.trade_date)
    marks = pl.read_parquet(day / "marks.parquet")
    assert marks.height > 4
    marks.clear().write_parquet(day / "marks.parquet")
    assert not score(tmp_path).equals(expected)
    assert set(expected["quality"]) > {"A"}


def test_other_thresholds_need_no_other_bytes(tmp_path: Path) -> None:
    """The signals of another profile, from the same sealed session, are those of its replay."""
    keys = "min_pressure_ratio = 40.0\nmarket_making_penalty = 0.9\nfalse_alerts_per_session = 0.3"
    text = (recorded_run().parent / "profile.toml").read_text()
    (tmp_path / "strict.toml").write_text(text.replace("[scoring]", f"[scoring]\n{keys}"))
    other = load_settings(tmp_path / "strict.toml")
    data = disturbed(2)
    (tmp_path / "stream.dbn").write_bytes(data)
    expected = replay(tmp_path / "stream.dbn", profile=tmp_path / "strict.toml", baselines=store())
    seal(data, tmp_path)
    calendar = load_sessions(other.profile.calendar)
    day = partition_of(tmp_path / "sealed", "NQ", TODAY.trade_date)
    sealed = read_sealed(day, TODAY.trade_date, calendar)
    found = score_sealed(sealed, history().arrays_for(TODAY.trade_date), other.profile, calendar)
    assert found.equals(expected.signals)
    assert found["alert"].sum() < play(data, tmp_path).signals["alert"].sum()


def test_a_folder_says_what_it_was_made_from(tmp_path: Path) -> None:
    """A finished folder has its done.json; nothing unfinished stays beside it."""
    (session,) = seal(bursts(), tmp_path)
    day = partition_of(tmp_path / "sealed", "NQ", TODAY.trade_date)
    done = read_done(day)
    assert done == {"key": "made by this", "session": session}
    assert [path.name for path in day.parent.iterdir()] == [day.name]


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    """Each file that scoring needs is missed; hand-overs without a gap are demanded."""
    seal(bursts(), tmp_path)
    day = partition_of(tmp_path / "sealed", "NQ", TODAY.trade_date)
    handed = pl.read_parquet(day / "handovers.parquet")
    handed.filter(pl.col("number") != 7).write_parquet(day / "handovers.parquet")
    with pytest.raises(DataError, match="hand-overs are missing"):
        score(tmp_path)
    handed.write_parquet(day / "handovers.parquet")
    changes = pl.read_parquet(day / "changes.parquet")
    changes.clear().write_parquet(day / "changes.parquet")
    with pytest.raises(DataError, match="has 0 openings"):
        score(tmp_path)
    (day / "marks.parquet").unlink()
    with pytest.raises(DataError, match="is no sealed session"):
        score(tmp_path)


def test_an_engine_that_seals_takes_no_history() -> None:
    """It would be silently unused."""
    profile = settings().profile
    with pytest.raises(ValueError, match="takes no history"):
        SealingEngine(profile, load_sessions(profile.calendar), history=history())


def test_many_thresholds_find_what_each_alone_finds(tmp_path: Path) -> None:
    """Profiles drawn at random, evidence weighed once: to the last byte what a walk by each is."""
    draw = random.Random(5)
    base = settings().profile
    profiles = [base] + [
        msgspec.structs.replace(
            base,
            min_pressure_ratio=draw.choice([1.0, 2.0, 20.0]),
            min_volume_concentration=draw.choice([0.3, 0.4]),
            min_time_persistence=draw.choice([0.0, 0.5, 1.0]),
            min_baseline_anomaly=draw.choice([0.0, 2.0, 6.0]),
            min_overall_confidence=draw.choice([0.5, 0.7, 0.95]),
            market_making_penalty=draw.choice([0.0, 0.4, 1.0]),
            false_alerts_per_session=draw.choice([0.01, 1.0, 50.0]),
            min_data_quality=draw.choice([0.0, 0.7, 1.0]),
            cooldown_s=draw.choice([0.0, 25.0, 600.0]),
        )
        for _ in range(6)
    ]
    seal(disturbed(3), tmp_path)
    calendar = load_sessions(base.calendar)
    day = partition_of(tmp_path / "sealed", "NQ", TODAY.trade_date)
    sealed = read_sealed(day, TODAY.trade_date, calendar)
    arrays = history().arrays_for(TODAY.trade_date)
    many = score_many(sealed, arrays, profiles, calendar)
    for found, profile in zip(many, profiles, strict=True):
        assert found.equals(score_sealed(sealed, arrays, profile, calendar))
    assert len({found.height for found in many}) > 3
    other = msgspec.structs.replace(base, lookback_days=base.lookback_days + 1)
    with pytest.raises(UsageError, match="must be the same"):
        score_many(sealed, arrays, [base, other], calendar)
