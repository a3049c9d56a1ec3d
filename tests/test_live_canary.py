"""A key through every way a live session can fail: no process shows it, no file holds it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType

import pytest

from ifd_fast.config import child_environment, load_settings
from ifd_fast.credentials import Secret
from ifd_fast.errors import CredentialError, RequestError
from ifd_fast.live_protocol import Terms
from ifd_fast.live_run import LiveRun
from ifd_fast.live_settings import LiveSettings
from ifd_fast.logs import get_logger, set_up_logging
from ifd_fast.shared_record import ring_path
from tests.historical_server import KEY
from tests.live_server import GREETING, Script, TestGateway, serving
from tests.live_server import Told as Asked
from tests.strategies_interface import SMALL
from tests.test_live_session import Run, live_header, message, records, send

pytestmark = pytest.mark.jit
BEGIN = live_header() + message(0x17, 3, "Finished") * 2
LATER_S = 10.0
# How a gateway fails a session: greeting, refusal, what it sends then, and how it ends.
FAILURES = {
    "refused": (GREETING, f"no licence for {KEY}", b"", "eof"),
    "another server": (f"HTTP/1.1 401 {KEY}\r\n\r\n".encode(), "", b"", "eof"),
    "no challenge": (f"lsg_version={KEY}\ncram={KEY}\n".encode()[:-60], "", b"", "eof"),
    "silent": (b"lsg_version=1\n", "", b"", "eof"),
    "reset in the handshake": (GREETING, "", b"", ""),
    "reset": (GREETING, "", b"", "reset"),
    "no DBN": (GREETING, "", b"<html>" * 20, "eof"),
    "deactivated": (GREETING, "", BEGIN + message(0x15, 2, "no more"), "hold"),
    "internal": (GREETING, "", BEGIN + message(0x15, 6, "Internal error"), "eof"),
    "corrupt": (GREETING, "", BEGIN + b"\xff" * 24, "eof"),
}


class Crash(Exception):  # noqa: N818  # what it is
    """Something that nobody reckoned with."""


def assert_hidden(*texts: str | bytes) -> None:
    """Fail if the key is in any of these."""
    for one in texts:
        assert KEY not in (one if isinstance(one, str) else one.decode("latin-1"))


def frames(trace: TracebackType | None) -> Iterator[str]:
    """Yield how what each frame but the test's own holds would be shown, by those who show it."""
    trace = None if trace is None else trace.tb_next
    while trace is not None:
        yield repr(trace.tb_frame.f_locals)
        trace = trace.tb_next


def make_run(gateway: TestGateway, folder: Path, heard: list[str]) -> LiveRun:
    """Return a run that is connected to nothing yet; what it tells is noted."""
    profile = folder / "live.toml"
    profile.write_text(SMALL)
    terms = Terms("GLBX.MDP3", answer_timeout_s=0.2)
    wanted = LiveSettings(gateway.address, ("NQ.FUT", "NQ.OPT"), terms, market_clock=True)

    run = LiveRun(load_settings(profile), wanted, Secret(KEY), folder / "record", form="text")
    tell = run._tell_state

    def note(why: str) -> None:
        heard.append(f"{run._state} {why}")
        if str(run._state) == "live" and "crash" in heard:
            raise Crash("the screen is gone")
        tell(why)

    run._tell_state = note  # type: ignore[method-assign]  # the keeper alone is told
    return run


@pytest.mark.usefixtures("logging_put_back")
@pytest.mark.parametrize("failure", FAILURES)
def test_the_key_shows_in_no_failure(
    tmp_path: Path, failure: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever the gateway does and says, the key itself even: not in notes, logs, files, frames.

    `repr` is what a debugger or a reporter of errors would show of a frame.
    """
    set_up_logging("debug")
    greeting, refusal, sent, end = FAILURES[failure]
    heard: list[str] = []
    with serving(lambda _number, _told: Script([sent], end)) as gateway:
        gateway.greeting, gateway.refusal = greeting, refusal
        gateway.hangs_up = failure == "reset in the handshake"
        run = make_run(gateway, tmp_path, heard)
        try:
            run.run(lambda: len(run.session.notes) > 1, time.monotonic() + 2)
        except (CredentialError, RequestError) as error:
            get_logger("ifd").exception("failed")
            assert_hidden(*traceback.format_exception(error), *frames(error.__traceback__))
            heard.append(str(error))
    assert heard[1:] + run.session.notes  # it was told
    assert gateway.told  # and had asked
    assert_hidden(*heard, *run.session.notes, json.dumps(run.describe(), default=str))
    assert_hidden(*capfd.readouterr(), *(one.read_bytes() for one in files_of(tmp_path)))


@pytest.mark.parametrize("code", [2, 4, 5, 6])
def test_a_message_with_the_key_is_cleaned(code: int) -> None:
    """Where a gateway's error holds it, neither the notes nor what ends the session do."""
    said = live_header() + message(0x15, code, f"not with {KEY}\n")
    with serving(partial(send, said)) as gateway:
        run = Run(gateway.address)
        if code in {2, 5}:
            with pytest.raises((CredentialError, RequestError), match=r"not with \[secret\]"):
                run.until(lambda: False)
        run.until(lambda: bool(run.session.notes))
        assert "not with [secret]" in run.session.notes[0]
        assert_hidden(*run.session.notes)
        run.session.stop()


def files_of(folder: Path) -> list[Path]:
    """Return all files of a folder and below."""
    return [one for one in folder.rglob("*") if one.is_file()]


@pytest.mark.usefixtures("logging_put_back")
def test_the_key_shows_in_no_crash(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What nobody catches goes up with a traceback; the ring it leaves behind was looked at too."""
    set_up_logging("debug")
    heard: list[str] = ["crash"]
    with serving(lambda _number, _told: Script([BEGIN, *records()[:50]], "hold")) as gateway:
        run = make_run(gateway, tmp_path, heard)
        with pytest.raises(Crash) as caught:
            run.run(lambda: False, time.monotonic() + LATER_S)
    get_logger("ifd").error("crashed", exc_info=caught.value)
    assert_hidden(
        *traceback.format_exception(caught.value), *frames(caught.value.__traceback__), *heard
    )
    assert_hidden(*capfd.readouterr(), *(one.read_bytes() for one in files_of(tmp_path)))


def descendants(pid: int) -> list[int]:
    """Return the processes that one has started, and they, as /proc has them."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *descendants(child)]
    return found


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="there is no /proc")
def test_no_other_process_is_given_the_key(tmp_path: Path) -> None:
    """`ifd live` by a key of the environment: its keeper and others know nothing of it.

    Nor do the ring they share, its own arguments, the record, and all that is printed, until the
    key is deactivated in the middle, which is exit code 5, with all rows there.
    """
    told: list[Asked] = []

    def play(_number: int, asked: Asked) -> Script:
        told.append(asked)
        return Script(pieces(), "hold")

    def pieces() -> Iterator[bytes]:
        yield BEGIN + b"".join(records()[:200])
        until_s = time.monotonic() + LATER_S
        while not looked and time.monotonic() < until_s:
            time.sleep(0.01)
        yield message(0x15, 2, "API key was deactivated")

    looked: list[int] = []
    record = tmp_path / "record"
    with serving(play) as gateway:
        command = [sys.executable, "-m", "ifd_fast", "live", "--record", str(record), "--json",
                   "--market-clock", "--profile", str(tmp_path / "live.toml")]  # fmt: skip
        (tmp_path / "live.toml").write_text(
            f'{SMALL}\n[databento]\nlive_gateway = "127.0.0.1:{gateway.address[1]}"\n'
        )
        given = {**os.environ, "DATABENTO_API_KEY": KEY, "IFD_LOG_LEVEL": "debug"}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=given
        ) as live:
            try:
                until_s = time.monotonic() + 60
                while not told and live.poll() is None and time.monotonic() < until_s:
                    time.sleep(0.01)
                assert KEY.encode() in Path(f"/proc/{live.pid}/environ").read_bytes()
                others = descendants(live.pid)
                for one in (live.pid, *others):
                    assert_hidden(Path(f"/proc/{one}/cmdline").read_bytes())
                for one in others:
                    assert_hidden(Path(f"/proc/{one}/environ").read_bytes())
                assert_hidden(ring_path(record).read_bytes())
                looked += others
                said, complained = live.communicate(timeout=30)
            finally:
                live.kill()
    assert len(looked) >= 2  # the keeper, and who writes checkpoints
    assert live.returncode == 5
    assert b"API key was deactivated" in complained
    end = json.loads(said.splitlines()[-1])["end"]
    assert end["applied"]["T"] > 100
    assert end["windows"] > 0
    assert_hidden(said, complained, *(one.read_bytes() for one in files_of(record)))


def test_what_we_start_has_all_but_the_key() -> None:
    """The rest of the environment stays: paths, settings, caches."""
    given = {"DATABENTO_API_KEY": KEY, "PATH": "/bin", "IFD_LOG_LEVEL": "debug"}
    assert child_environment(given) == {"PATH": "/bin", "IFD_LOG_LEVEL": "debug"}
