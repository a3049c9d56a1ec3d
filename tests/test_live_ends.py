"""`ifd live` as a process: told to end under load, started twice, refused, frozen out."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ifd_fast.config import load_settings
from ifd_fast.credentials import parse_api_key
from ifd_fast.errors import CredentialError
from ifd_fast.gateway import Gateway
from ifd_fast.gateway_faults import Fault, Faults
from ifd_fast.gateway_market import TEST_KEY, Market
from ifd_fast.live_protocol import Terms
from ifd_fast.live_run import LiveRun
from ifd_fast.live_settings import LiveSettings
from ifd_fast.live_states import State
from ifd_fast.record_reader import RecordReader
from ifd_fast.record_replay import replay_record
from ifd_fast.shared_record import ring_path
from tests.gateway_client import little_market
from tests.historical_server import KEY
from tests.live_server import Script, serving
from tests.live_server import Told as Asked
from tests.strategies_interface import SMALL, event
from tests.test_live_session import live_header, message, records

pytestmark = pytest.mark.jit
BEGIN = live_header() + message(0x17, 3, "Finished") * 2
BATCH_S = 0.5  # of the market, in each batch of an endless load
START_S = 60.0


def endless(_number: int, _asked: Asked) -> Script:
    """Send the small market, then trades without end, as fast as they are taken."""

    def pieces() -> Iterator[bytes]:
        yield BEGIN + b"".join(records())
        for number in range(100_000):
            yield event(5_401 + BATCH_S * number) * 200

    return Script(pieces(), "eof")


@contextmanager
def live(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """Run `ifd live` on the record of `folder`, by the tests' key."""
    profile = folder / "live.toml"
    profile.write_text(f'{SMALL}\n[databento]\nlive_gateway = "127.0.0.1:{port}"\n')
    command = [sys.executable, "-m", "ifd_fast", "live", "--record", str(folder / "record"),
               "--json", "--market-clock", "--profile", str(profile)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "DATABENTO_API_KEY": KEY}) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], state: str) -> None:
    """Read what a session prints up to a state."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("state") == state:
            return
    raise AssertionError(f"never {state}: {process.stderr and process.stderr.read()}")


def end_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what a session printed as it ended."""
    said, complained = process.communicate(timeout=START_S)
    assert process.returncode == 0, complained
    found: dict[str, Any] = json.loads(said.splitlines()[-1])["end"]
    return found


@pytest.mark.parametrize("told", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_an_end_under_load(tmp_path: Path, told: list[signal.Signals]) -> None:
    """Told to end, or impatiently twice: exit code 0, and a whole record that gives the rows.

    Meanwhile a second session on that record is refused with exit code 4, and told by whom.
    """
    with serving(endless) as gateway, live(tmp_path, gateway.address[1]) as process:
        wait_for(process, "live")
        if len(told) == 1:
            with live(tmp_path, gateway.address[1]) as second:
                _, complained = second.communicate(timeout=START_S)
            assert second.returncode == 4
            assert f"{tmp_path / 'record'} is being recorded to by process {process.pid}" in re.sub(
                r"\s+", " ", complained
            )
        for number in told:
            process.send_signal(number)
        end = end_of(process)
    assert end["applied"]["T"] > len(records())
    reader = RecordReader(tmp_path / "record")
    reader.verify()
    assert reader.cut_bytes == 0
    assert not ring_path(tmp_path / "record").exists()
    again = replay_record(tmp_path / "record", profile=tmp_path / "live.toml")
    assert again.rows_digest == end["digests"]["rows_digest"] is not None


class FastClock:
    """Time that runs forty times as fast, so that waits are over sooner."""

    def wall_ns(self) -> int:
        """Return the time, ns UTC."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return ns since some start."""
        return time.monotonic_ns() * 40


def make_run(folder: Path, address: tuple[str, int], key: str = TEST_KEY) -> LiveRun:
    """Return a run that has time run fast, and waits for no answer for long."""
    (folder / "live.toml").write_text(SMALL)
    terms = Terms("GLBX.MDP3", answer_timeout_s=0.3)
    wanted = LiveSettings(address, ("NQ.FUT", "NQ.OPT"), terms, market_clock=True)
    return LiveRun(
        load_settings(folder / "live.toml"), wanted, parse_api_key(key, "key"),
        folder / "record", clock=FastClock(),
    )  # fmt: skip


def check_record(run: LiveRun, folder: Path) -> None:
    """Hold the record's replay to the rows of the run."""
    again = replay_record(folder / "record", profile=folder / "live.toml")
    assert again.rows_digest == run.found["digests"]["rows_digest"] is not None


@pytest.mark.parametrize("kind", ["auth_refused", "key_deactivated"])
def test_a_key_refused_at_a_reconnect(tmp_path: Path, kind: str) -> None:
    """Down for good, exit code 5, and what was found until then is there, the last cut short."""
    faults = Faults([Fault("eof", after_records=1_500), Fault(kind, connection=2)])
    with Gateway(Market(little_market(3_000, step_ns=5_000_000_000), faults=faults)) as gateway:
        run = make_run(tmp_path, ("127.0.0.1", gateway.port))
        with pytest.raises(CredentialError) as caught:
            run.run(lambda: False, time.monotonic() + START_S)
    assert caught.value.exit_code == 5
    assert run.session.state is State.DOWN
    assert run.describe()["connections"] == 1
    again = replay_record(tmp_path / "record", profile=tmp_path / "live.toml")
    assert again.windows["quality"][-1] == "F"
    check_record(run, tmp_path)


def test_a_gateway_that_freezes(tmp_path: Path) -> None:
    """A process that was stopped accepts, and says nothing: it is left, tried, and found again."""
    command = [sys.executable, "-m", "ifd_fast", "gateway", "--simulate", "session", "--records",
               "20000", "--port", "0", "--speed", "max", "--stay"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
        try:
            assert gateway.stdout is not None
            said = gateway.stdout.readline()
            port = int(said.rpartition("127.0.0.1:")[2].partition(";")[0])
            run = make_run(tmp_path, ("127.0.0.1", port))
            frozen: list[float] = []
            states: set[State] = set()

            def look() -> bool:
                states.add(run.session.state)
                if run.session.state is State.LIVE and not frozen:
                    frozen.append(time.monotonic())
                    gateway.send_signal(signal.SIGSTOP)
                if any("no answer within" in one for one in run.session.notes):
                    gateway.send_signal(signal.SIGCONT)
                    return run.session.state is State.LIVE
                return False

            until_s = time.monotonic() + START_S
            run.run(look, until_s)
            assert time.monotonic() < until_s, run.session.notes
        finally:
            gateway.kill()
    assert {State.STALE, State.RECOVERING, State.LIVE} <= states
    assert "connection lost: silent" in run.session.notes
    check_record(run, tmp_path)
