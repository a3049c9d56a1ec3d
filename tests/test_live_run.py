"""A live run whole: gateway, engine, record and keeper; and the record replayed to the same."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import databento
import polars as pl
import pytest

from ifd_fast.config import load_settings
from ifd_fast.credentials import parse_api_key
from ifd_fast.errors import CredentialError, DataError
from ifd_fast.executing import Workers
from ifd_fast.gateway import Gateway
from ifd_fast.gateway_faults import Fault, Faults
from ifd_fast.gateway_market import TEST_KEY, Market
from ifd_fast.live_protocol import Terms
from ifd_fast.live_run import LiveRun
from ifd_fast.live_settings import LiveSettings
from ifd_fast.record_files import JOURNAL
from ifd_fast.record_replay import replay_record
from ifd_fast.rescore_run import Request, rescore
from ifd_fast.segments import read_segments
from ifd_fast.shared_record import ring_path
from ifd_fast.subscribing import Feed, FeedItem
from tests.gateway_client import little_market
from tests.strategies_interface import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ifd_fast.gateway_tape import Tape

pytestmark = pytest.mark.jit
SYMBOLS = ("NQ.FUT", "NQ.OPT")


def market() -> Tape:
    """Return two hours of three instruments."""
    return little_market(3000, step_ns=5_000_000_000)


def run_live(
    tape: Tape,
    folder: Path,
    faults: list[Fault],
    key: str = TEST_KEY,
    terms: Terms | None = None,
    feed: list[FeedItem] | None = None,
) -> LiveRun:
    """Run a session over a record until the market has ended; return the run.

    What its feed says goes into `feed`.
    """
    profile = folder / "live.toml"
    profile.write_text(SMALL)
    with Gateway(Market(tape, faults=Faults(faults))) as gateway:
        wanted = LiveSettings(
            ("127.0.0.1", gateway.port), SYMBOLS, terms or Terms("GLBX.MDP3"), market_clock=True
        )
        run = LiveRun(load_settings(profile), wanted, parse_api_key(key, "key"), folder / "record")
        lost = len(faults) + 1
        with follow(folder / "record", feed):
            run.run(lambda: run.session.counts["connections_lost"] >= lost)
    return run


@contextmanager
def follow(record: Path, into: list[FeedItem] | None) -> Iterator[None]:
    """Have a thread take what a record's feed says, to its end."""
    feed = Feed(record)

    def take(items: list[FeedItem]) -> None:
        ends_s = time.monotonic() + 60.0
        while not any(one.kind == "end" for one in items) and time.monotonic() < ends_s:
            items += feed.poll(0.5)

    thread = threading.Thread(target=take, args=(into,))
    if into is not None:
        thread.start()
    try:
        yield
    finally:
        if into is not None:
            thread.join(60.0)
        feed.close()


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [Fault("eof", after_records=900), Fault("cut", after_records=2000)],
        [Fault("reset", after_records=1500), Fault("fatal", after_records=1501)],
    ],
)
def test_the_record_replayed_gives_the_sessions_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: list[Fault]
) -> None:
    """Whatever cut it: rows_digest of the record is that of the run, in any chunks.

    Facts are those of a session without cuts, sending times in each record or not, and databento
    itself reads the record's files.
    """
    tape = market()
    said: list[FeedItem] = []
    run = run_live(tape, tmp_path, faults, terms=Terms("GLBX.MDP3", ts_out=bool(faults)), feed=said)
    digest = run.found["digests"]["rows_digest"]
    assert run.found["windows"] > 50
    record = tmp_path / "record"
    again = replay_record(record, profile=tmp_path / "live.toml")
    assert again.document["digests"] == run.found["digests"]
    assert read_segments(record, "windows").equals(again.windows)
    assert read_segments(record, "signals").drop("withheld").equals(again.signals)
    check_fed(said, record, run)
    check_rescored(tmp_path, run, monkeypatch)
    monkeypatch.setattr("ifd_fast.record_reader.READ_BYTES", 1001)
    assert replay_record(record, profile=tmp_path / "live.toml").rows_digest == digest
    store = databento.DBNStore.from_bytes((record / "0001.dbn").read_bytes())
    assert sum(isinstance(one, databento.MBOMsg) for one in store) > 500
    found = run.describe()
    assert found["connections"] == len(faults) + 1
    assert sum(found["duplicates"].values()) > 0 or not faults
    assert found["applied"]["T"] == (tape.parts[0].rows[:, 38] == ord("T")).sum()
    assert not ring_path(tmp_path / "record").exists()
    if faults:
        (tmp_path / "clean").mkdir()
        clean = run_live(tape, tmp_path / "clean", [])
        assert clean.found["digests"]["facts_digest"] == run.found["digests"]["facts_digest"]


def check_fed(said: list[FeedItem], record: Path, run: LiveRun) -> None:
    """Hold what the feed said against what the record's segments hold."""
    assert said[0].kind == "begin"
    for name, key in (("windows", "window_end"), ("signals", "timestamp")):
        stored = read_segments(record, name)
        fed = [row for one in said if one.kind == name for row in one.data]
        assert fed or stored.is_empty(), name
        late = stored.tail(len(fed))  # what a segment held before it was let in is read there
        assert [row["instrument_id"] for row in fed] == late["instrument_id"].to_list()
        at = pl.Series([row[key] for row in fed], dtype=pl.String).str.to_datetime(time_unit="ns")
        assert at.dt.replace_time_zone("UTC").equals(late[key].alias(""))
    states = [one.data["state"] for one in said if one.kind == "state"]
    assert states[-1] == "down"  # a state that is over within a look is told to nobody
    assert said[-1].kind == "end"
    assert said[-1].data["digests"] == run.found["digests"]
    assert not any(one.kind == "dropped" for one in said)


def check_rescored(folder: Path, run: LiveRun, patch: pytest.MonkeyPatch) -> None:
    """Hold the record scored again, in two stages, against the session that wrote it."""
    patch.setattr(Workers, "run", lambda _, function, tasks: ((t, function(t)) for t in tasks))
    settings = load_settings(folder / "live.toml")
    again = rescore(Request((folder / "record",), folder / "again", settings))
    assert again.report["digests"] == run.found["digests"]


def test_the_engine_has_a_core_and_the_keeper_the_others(tmp_path: Path) -> None:
    """Also a keeper that was started after the engine was pinned."""
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("one core alone: there are no others")
    core = max(cores)
    wanted = LiveSettings(("127.0.0.1", 1), SYMBOLS, Terms("GLBX.MDP3"))
    key = parse_api_key(TEST_KEY, "key")
    try:
        run = LiveRun(load_settings(), wanted, key, tmp_path, core=core)
        keeper = run.record._keeper
        assert os.sched_getaffinity(0) == {core}
        assert os.sched_getaffinity(keeper.pid) == cores - {core}
        keeper.kill()
        keeper.wait()
        run.record.restart_keeper()
        assert os.sched_getaffinity(run.record._keeper.pid) == cores - {core}
        run.run(lambda: True)
    finally:
        os.sched_setaffinity(0, cores)


def test_a_refused_key_leaves_a_closed_record(tmp_path: Path) -> None:
    """The run ends with the gateway's reason; no ring and no keeper stay behind."""
    with pytest.raises(CredentialError):
        run_live(market(), tmp_path, [], key="db-Wrong0Wrong0Wrong0Wrong0Wrong0x"[:32])
    assert not ring_path(tmp_path / "record").exists()


def test_a_changed_record_is_refused(tmp_path: Path) -> None:
    """A byte of a connection, or a journal that was cut: named, not replayed."""
    run_live(market(), tmp_path, [])
    record = tmp_path / "record"
    path = record / "0001.dbn"
    whole = path.read_bytes()
    path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    with pytest.raises(DataError, match=r"0001\.dbn"):
        replay_record(record)
    path.write_bytes(whole)
    journal = record / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-1])
    with pytest.raises(DataError, match=JOURNAL):
        replay_record(record)


def test_the_command_runs_a_simulated_market(tmp_path: Path) -> None:
    """`ifd live --simulate` starts its own gateway, ends when told to, and leaves a record."""
    code = "from ifd_fast.cli import main; main()"
    command = [
        sys.executable, "-c", code, "live", "--simulate", "session", "--records", "30000",
        "--speed", "max", "--json", "--record", str(tmp_path / "record"),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(json.loads(line))
                if lines[-1].get("state") == "recovering":  # the market has ended
                    process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
    end = lines[-1]["end"]
    assert {"replaying", "down"} <= {one.get("state") for one in lines}
    assert end["applied"]["T"] > 0
    assert replay_record(tmp_path / "record").rows_digest == end["digests"]["rows_digest"]


def test_a_session_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs, and after a restart while it plays its record, which begins and ends it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "20000")
        told = [hear_session(heard, tmp_path) for _ in range(2)]
    for said in told:  # a loop beats before it tells of the state it finds
        assert b"WATCHDOG=1" in said[: said.index(b"STATUS=down")]
    recovers = [place for place, text in enumerate(told[1]) if text == b"STATUS=recovering"]
    assert b"STATUS=recovering" not in told[0]
    assert b"WATCHDOG=1" in told[1][recovers[0] : recovers[-1]]


def hear_session(heard: socket.socket, folder: Path) -> list[bytes]:
    """Run a session to its end; return what systemd would be told."""
    said: list[bytes] = []
    listener = threading.Thread(target=listen, args=(heard, said))
    listener.start()
    run_live(market(), folder, [])
    listener.join(10.0)
    return said


def listen(heard: socket.socket, into: list[bytes]) -> None:
    """Take what systemd would be told, until the session is down."""
    while not into or into[-1] != b"STATUS=down":
        into.append(heard.recv(100))
