"""A live session under faults drawn from seeds, over real sockets: nothing lost, nothing doubled.

`./dev faults` draws a thousand seeds; what runs here otherwise is a sample.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl
import pytest

from ifd_fast.config import load_settings
from ifd_fast.credentials import parse_api_key
from ifd_fast.gateway import Gateway
from ifd_fast.gateway_faults import FOR_NOW, IN_STREAM, Fault, Faults, draw_faults
from ifd_fast.gateway_market import TEST_KEY, Market
from ifd_fast.live_protocol import Terms
from ifd_fast.live_run import LiveRun
from ifd_fast.live_settings import LiveSettings
from ifd_fast.record_replay import replay_record
from tests.gateway_client import little_market
from tests.strategies_interface import SMALL

pytestmark = [pytest.mark.jit, pytest.mark.slow]
SEEDS = int(os.environ.get("FAULT_SEEDS", "4"))
ENDING = {"eof", "cut", "reset", "fatal", "corrupt", "half_open"}
RECORDS = 3000
EVENTS = RECORDS + 3  # and a clear of each instrument, of the snapshot it begins with
# A loss before the first record was received, or within seconds of it, is none of the session's: it
# joins with a new snapshot. So a clean end, behind which all has arrived, comes before the others.
FIRST = Fault("eof", after_records=50)
FASTER = 40
LONGEST_S = 90.0  # the first may have kernels to compile


class FastClock:
    """Time that runs faster, so that waits and silences are over sooner."""

    def wall_ns(self) -> int:
        """Return the time, ns UTC."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return ns since some start."""
        return time.monotonic_ns() * FASTER


class Found(NamedTuple):
    """What a session found, and what happened to it."""

    rows: pl.DataFrame
    rows_digest: str | None
    facts_digest: str | None
    trades: int
    connections: int
    changed: int


def play(folder: Path, faults: list[Fault], *, compressed: bool = False) -> Found:
    """Run a session until the market has ended, record it, and replay the record."""
    folder.mkdir(exist_ok=True)
    profile = folder / "live.toml"
    profile.write_text(SMALL)
    tape = little_market(RECORDS, step_ns=5_000_000_000)
    market = Market(tape, ends=False, faults=Faults(faults))
    with Gateway(market) as gateway:
        terms = Terms("GLBX.MDP3", compressed=compressed)
        wanted = LiveSettings(
            ("127.0.0.1", gateway.port), ("NQ.FUT", "NQ.OPT"), terms, seed=1, market_clock=True
        )
        run = LiveRun(
            load_settings(profile), wanted, parse_api_key(TEST_KEY, "key"), folder / "record",
            clock=FastClock(),
        )  # fmt: skip
        until_s = time.monotonic() + LONGEST_S
        run.run(lambda: int(run.engine.state.actions.sum()) >= EVENTS, until_s)
    assert time.monotonic() < until_s, run.session.notes
    assert market.faults.next_place() is None  # all of the stream's happened
    again = replay_record(folder / "record", profile=profile)
    assert again.rows_digest == run.found["digests"]["rows_digest"]
    found = run.describe()
    return Found(
        again.windows, again.rows_digest, again.facts_digest, found["applied"]["T"],
        found["connections"], found["duplicates"].get("changed_duplicates", 0),
    )  # fmt: skip


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Return what a session without faults finds."""
    return play(tmp_path_factory.mktemp("clean"), [])


def check(found: Found, clean: Found) -> None:
    """Compare a faulted session with the clean one: every window, every trade, once."""
    assert found.facts_digest == clean.facts_digest
    assert found.trades == clean.trades
    assert found.changed == 0
    grades = found.rows["quality"].to_list(), clean.rows["quality"].to_list()
    assert all(one >= other for one, other in zip(*grades, strict=True))  # A is the best


def drawn(seed: int) -> list[Fault]:
    """Return the faults of a seed, behind the first that every session has."""
    return [
        msgspec.structs.replace(one, seconds=0.02)
        for one in draw_faults(seed, RECORDS)
        if one.connection > 1 or one.after_records > FIRST.after_records
    ]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_faulted_session_is_the_clean_one(tmp_path: Path, clean: Found, seed: int) -> None:
    """Ten faults of all kinds at places drawn: facts, trades, no changed duplicate."""
    found = play(tmp_path / "run", [FIRST, *drawn(seed)], compressed=seed % 2 == 1)
    check(found, clean)


def test_a_thousand_seeds_hold_each_kind_of_fault() -> None:
    """Each kind at least 20 times, compressed and not; those of the stream early, late, between."""
    plans = [drawn(seed) for seed in range(1000)]
    for packed in (0, 1):
        kinds = Counter(one.kind for plan in plans[packed::2] for one in plan)
        assert set(kinds) == {*IN_STREAM, *FOR_NOW}
        assert min(kinds.values()) >= 20
    thirds = Counter(
        (one.kind, one.after_records * 3 // RECORDS)
        for plan in plans
        for one in plan
        if one.kind in IN_STREAM
    )
    assert len(thirds) == 3 * len(IN_STREAM)
    assert min(thirds.values()) >= 20


@pytest.mark.parametrize("kind", IN_STREAM)
def test_each_kind_of_fault_is_survived(tmp_path: Path, clean: Found, kind: str) -> None:
    """Once in the middle of the market, whatever it is."""
    fault = Fault(kind, after_records=RECORDS // 2, seconds=0.02)
    found = play(tmp_path / "run", [FIRST, fault])
    assert found.connections == 2 + (kind in ENDING)
    check(found, clean)


@pytest.mark.parametrize("kind", ["connection_limit", "no_greeting"])
def test_a_handshake_refused_for_now_is_tried_again(
    tmp_path: Path, clean: Found, kind: str
) -> None:
    """The first connection is not let in, the second is: nothing is missed."""
    found = play(tmp_path / "run", [Fault(kind, connection=1)])
    assert found.connections == 1
    check(found, clean)
