"""A session that is started again on its record: nothing is lost, doubled, or alerted twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from ifd_fast.checkpoints import FOLDER
from ifd_fast.config import load_settings
from ifd_fast.credentials import parse_api_key
from ifd_fast.errors import DataError
from ifd_fast.gateway import Gateway
from ifd_fast.gateway_faults import Fault, Faults
from ifd_fast.gateway_market import TEST_KEY, Market
from ifd_fast.live_protocol import Terms
from ifd_fast.live_run import LiveRun
from ifd_fast.live_settings import LiveSettings
from ifd_fast.proven_reader import ProvenReader
from ifd_fast.record_files import CHECKS, RecordFiles, connection_file, encode_entry
from ifd_fast.record_follower import RecordFollower
from ifd_fast.record_reader import RecordReader
from ifd_fast.record_replay import replay_record
from ifd_fast.restarting import find_changes
from ifd_fast.session_record import Entry, EntryKind
from ifd_fast.shared_record import ring_path
from tests.gateway_client import little_market
from tests.strategies_interface import SMALL

pytestmark = pytest.mark.jit
KILLS = int(os.environ.get("KILLS", "2"))
RECORDS = 3000
EVENTS = RECORDS + 3  # and a clear of each instrument, of the snapshot it begins with
FIRST = Fault("eof", after_records=50)
LONGEST_S = 60.0
SAVING = "[live]\ncheckpoint_interval_s = 0.1\n"
# Runs until it is killed, and says how many events it has applied.
ENGINE = """
import sys
from pathlib import Path
from tests.test_restart import make_run
run = make_run(Path(sys.argv[1]), int(sys.argv[2]))
def look():
    sys.stdout.write(f"{int(run.engine.state.actions.sum())}\\n")
    sys.stdout.flush()
    return False
run.run(look)
"""


class Ended(NamedTuple):
    """What was found by a run that ended, and what it told."""

    run: LiveRun
    states: list[tuple[str, str]]

    @property
    def facts(self) -> str | None:
        """The digest of what doesn't depend on grades."""
        facts: str | None = self.run.found["digests"]["facts_digest"]
        return facts


def make_run(folder: Path, port: int, states: list[tuple[str, str]] | None = None) -> LiveRun:
    """Return a run on the record of `folder`, by the profile that lies there."""
    folder.mkdir(exist_ok=True)
    profile = folder / "live.toml"
    if not profile.exists():
        profile.write_text(SMALL)
    wanted = LiveSettings(
        ("127.0.0.1", port), ("NQ.FUT", "NQ.OPT"), Terms("GLBX.MDP3"), seed=1, market_clock=True
    )
    key = parse_api_key(TEST_KEY, "key")
    run = LiveRun(load_settings(profile), wanted, key, folder / "record")
    tell = run._tell_state

    def note(why: str) -> None:
        if states is not None:
            states.append((str(run._state), why))
        tell(why)

    run._tell_state = note  # type: ignore[method-assign]  # the keeper alone is told
    return run


def run_until(folder: Path, port: int, events: int) -> Ended:
    """Run until so many events were applied, then stop."""
    states: list[tuple[str, str]] = []
    run, until_s = make_run(folder, port, states), time.monotonic() + LONGEST_S
    run.run(lambda: int(run.engine.state.actions.sum()) >= events, until_s)
    assert time.monotonic() < until_s, run.session.notes
    return Ended(run, states)


def serving(*stops: int) -> Gateway:
    """Return a gateway of two hours of three instruments that pauses at some of its records."""
    tape = little_market(RECORDS, step_ns=5_000_000_000)
    stalls = [Fault("stall", after_records=place, seconds=2.0) for place in stops]
    return Gateway(Market(tape, ends=False, faults=Faults([FIRST, *stalls])))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Return a session that nobody disturbed."""
    with serving() as gateway:
        return run_until(tmp_path_factory.mktemp("clean"), gateway.port, EVENTS)


def check(ended: Ended, clean: Ended, folder: Path) -> None:
    """Compare a run that went on with the undisturbed one, and with the replay of its record."""
    found, wanted = ended.run.describe(), clean.run.describe()
    assert ended.facts == clean.facts
    assert found["applied"] == wanted["applied"]
    again = replay_record(folder / "record", profile=folder / "live.toml")
    assert again.rows_digest == ended.run.found["digests"]["rows_digest"]
    assert again.signals_digest == ended.run.found["digests"]["signals_digest"]


def test_a_stopped_session_goes_on(tmp_path: Path, clean: Ended) -> None:
    """Twice stopped, twice started: facts, counts, and the record's replay; progress is told."""
    with serving(900, 2000) as gateway:
        first = run_until(tmp_path, gateway.port, 900)
        assert first.facts != clean.facts
        run_until(tmp_path, gateway.port, 2000)
        ended = run_until(tmp_path, gateway.port, EVENTS)
    check(ended, clean, tmp_path)
    states = [state for state, _ in ended.states]
    assert states[0] == "recovering"
    assert ended.states[1][1].startswith("played the record")
    assert ended.run.describe()["connections"] == 1
    assert first.run.found["windows"] < ended.run.found["windows"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_session_goes_on(tmp_path: Path, clean: Ended, seed: int) -> None:
    """Engine killed at any moment, or in a pause: as if nothing had been."""
    drawn, saves = random.Random(seed), seed % 2 == 1
    place = drawn.randrange(200, RECORDS)
    if saves:  # every other one has checkpoints to go on from, mostly
        (tmp_path / "live.toml").write_text(SMALL + SAVING)
    with serving(place) as gateway:
        command = [sys.executable, "-c", ENGINE, str(tmp_path), str(gateway.port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as engine:
            assert engine.stdout is not None
            while int(engine.stdout.readline()) < place - 100:
                assert engine.poll() is None
            time.sleep(drawn.uniform(0.0, 0.3) + saves * drawn.uniform(0.5, 1.5))
            engine.send_signal(signal.SIGKILL)
        ended = run_until(tmp_path, gateway.port, EVENTS)
    check(ended, clean, tmp_path)
    assert not ring_path(tmp_path / "record").exists()
    ends = [one for one in RecordReader(tmp_path / "record").entries if "reason" in one.payload]
    assert "engine died" in [one.payload["reason"] for one in ends]


def test_a_changed_record_is_not_gone_on_with(tmp_path: Path) -> None:
    """A byte of it that differs: the run ends by name, and the record is left as it is."""
    with serving(500) as gateway:
        run_until(tmp_path, gateway.port, 500)
        path = connection_file(tmp_path / "record", 1)
        whole = path.read_bytes()
        path.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
        with pytest.raises(DataError, match=r"0001\.dbn"):
            run_until(tmp_path, gateway.port, 900)
    assert not ring_path(tmp_path / "record").exists()


def test_another_configuration_is_told(tmp_path: Path) -> None:
    """The record is played with the one now in force, and that is said."""
    with serving(500) as gateway:
        run_until(tmp_path, gateway.port, 500)
        (tmp_path / "live.toml").write_text(SMALL + "[windows]\nwindow_s = 600\n")
        ended = run_until(tmp_path, gateway.port, 700)
    assert ended.states[0][1].startswith("configuration was")
    again = replay_record(tmp_path / "record", profile=tmp_path / "live.toml")
    assert again.rows_digest == ended.run.found["digests"]["rows_digest"]
    reader = RecordReader(tmp_path / "record")
    assert find_changes(reader, load_settings(tmp_path / "live.toml")) == ""


def test_a_session_goes_on_from_a_checkpoint(tmp_path: Path, clean: Ended) -> None:
    """Its shadow has written one: the rest is played alone, and comes to the very same."""
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "live.toml").write_text(SMALL + SAVING)
    checkpoints = tmp_path / "record" / FOLDER
    with serving(1500) as gateway:
        run, until_s = make_run(tmp_path, gateway.port), time.monotonic() + LONGEST_S
        run.run(lambda: any(checkpoints.glob("*.state")), until_s)
        assert any(checkpoints.glob("*.state"))
        before = sum(RecordReader(tmp_path / "record").ends.values())
        ended = run_until(tmp_path, gateway.port, EVENTS)
    found = ended.run.describe()
    assert str(ended.run.checkpoint) == found["checkpoint"]
    assert ended.run.checkpoint in list(checkpoints.glob("*.state"))
    assert found["recovered_bytes"] < before
    wanted = clean.run.describe()
    for name in ("applied", "trades", "instants_scored", "live_orders", "book"):
        assert found[name] == wanted[name]
    again = replay_record(tmp_path / "record", profile=tmp_path / "live.toml")
    assert again.facts_digest == clean.facts
    assert again.rows_digest == ended.run.found["digests"]["rows_digest"]  # with what was stored
    for path in checkpoints.glob("*.state"):
        path.write_bytes(path.read_bytes()[:1000])
    with serving() as gateway:
        states: list[tuple[str, str]] = []
        run = make_run(tmp_path, gateway.port, states)
        run.run(lambda: run.recovery_s > 0)
    assert run.checkpoint is None
    assert any("torn" in why for _, why in states)
    unfit = {one.stat().st_ino for one in checkpoints.glob("*.state")}
    assert unfit
    (tmp_path / "record" / "session.json").unlink()  # as if power had been lost before it
    with serving() as gateway:
        states.clear()
        run = make_run(tmp_path, gateway.port, states)
        run.run(lambda: run.recovery_s > 0)
    assert any("not all stored" in why for _, why in states)
    # its own shadow may have written others by now
    assert not unfit & {one.stat().st_ino for one in checkpoints.glob("*.state")}
    assert run.found["digests"]["rows_digest"] == again.rows_digest


@pytest.mark.border
def test_a_record_is_followed_while_it_is_written(tmp_path: Path) -> None:
    """Each group once it is whole; bytes that are not those recorded are refused by name."""
    files = RecordFiles(tmp_path)
    entry = Entry(1, 0, EntryKind.NOTE, {"text": "one"})
    files.append_entry(encode_entry(entry))
    files.sync()
    follower = RecordFollower(tmp_path)
    assert follower.refresh() == 0
    for _ in range(3):
        files.append(1, b"abc")
        files.append_entry(encode_entry(entry))
        files.sync()
    files.close()
    with (tmp_path / CHECKS).open("ab") as checks:
        checks.write(b"half a li")
    assert follower.refresh() == 3
    assert follower.refresh() == 0
    assert follower.entries == [entry] * 4
    assert follower.ends == {1: 9}
    assert b"".join(one.tobytes() for one in follower.chunks(1, 5)) == b"bcabc"[1:]
    follower = RecordFollower(tmp_path)
    files = RecordFiles(tmp_path)
    files.append(1, b"defg")
    files.sync()
    files.close()
    connection_file(tmp_path, 1).write_bytes(b"abcabcabcdeFg")
    with pytest.raises(DataError, match=r"0001\.dbn: group 4"):
        follower.refresh()


@pytest.mark.border
def test_bytes_behind_the_last_entry_are_played(tmp_path: Path) -> None:
    """A connection whose end nobody wrote, as power was lost, and another after it."""
    files = RecordFiles(tmp_path)
    for number, size in ((1, 5_000_000), (2, 3)):
        begin = {"start_ns": None, "snapshot": True, "skip_from_ns": None}
        files.append_entry(encode_entry(Entry(number, 0, EntryKind.CONNECTION_BEGIN, begin)))
        files.append(number, random.Random(number).randbytes(size))
        files.sync()
    files.close()
    with ProvenReader(tmp_path) as reader:
        for _ in range(2):
            found = [b"".join(one.tobytes() for one in reader.chunks(n)) for n in (1, 2, 3)]
            assert [len(one) for one in found] == [5_000_000, 3, 0]
            rest = b"".join(one.tobytes() for one in reader.chunks(1, 4_999_000))
            assert rest == found[0][4_999_000:]
            assert found[0] == connection_file(tmp_path, 1).read_bytes()
        next(reader.chunks(1))  # left off in the middle
    path = connection_file(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with ProvenReader(tmp_path) as reader, pytest.raises(DataError, match="not those"):
        list(reader.chunks(1))
