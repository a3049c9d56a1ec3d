"""Each setting of a live session reaches what it controls; who wants to stop waits for nobody."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ifd_fast.config import load_settings
from ifd_fast.credentials import parse_api_key
from ifd_fast.errors import RequestError
from ifd_fast.gateway_market import TEST_KEY
from ifd_fast.header import HeaderReader
from ifd_fast.latencies import Latency
from ifd_fast.live_protocol import Subscription, Terms, open_connection
from ifd_fast.live_run import LiveRun
from ifd_fast.live_settings import LiveSettings
from tests.historical_server import KEY
from tests.live_server import serving

pytestmark = pytest.mark.border

WANTED = (Subscription("mbo", ("NQ.OPT",), snapshot=True),)


def settings_of(folder: Path, text: str) -> Any:
    """Return the settings of a profile with this [live] section."""
    path = folder / "live.toml"
    path.write_text(f'base = "ifd_v3_production"\n[live]\n{text}\n')
    return load_settings(path, environ={})


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("heartbeat_s = 17", "heartbeat_interval_s", "17"),
        ('compression = "zstd"', "compression", "zstd"),
        ("ts_out = 1", "ts_out", "1"),
        ("", "ts_out", "0"),
    ],
)
def test_the_gateway_is_asked_for_it(tmp_path: Path, text: str, field: str, value: str) -> None:
    """Heartbeats, compression and sending times are terms of the session."""
    live = LiveSettings.of_profile(settings_of(tmp_path, text).profile)
    with serving() as gateway:
        key = parse_api_key(KEY, "key")
        open_connection(key, gateway.address, live.terms, WANTED).close()
    assert gateway.told[0].lines[0][field] == value


def test_the_session_is_given_it(tmp_path: Path) -> None:
    """What is late, and what waits are drawn from."""
    live = LiveSettings.of_profile(settings_of(tmp_path, "late_s = 0.5\nseed = 9").profile)
    assert (live.late_ns, live.seed) == (500_000_000, 9)


def test_the_ring_and_the_shadow_are_given_it(tmp_path: Path) -> None:
    """The ring's size; and no shadow runs that nobody wants."""
    settings = settings_of(tmp_path, "ring_mib = 3\ncheckpoint_interval_s = 0")
    wanted = LiveSettings(("127.0.0.1", 1), ("NQ.OPT",), Terms("GLBX.MDP3"))
    run = LiveRun(settings, wanted, parse_api_key(TEST_KEY, "key"), tmp_path / "record")
    assert len(run.record.space()) <= 3 << 20
    assert run.record._ring.capacity == 3 << 20
    run.run(lambda: True)
    assert run.checkpoint is None
    assert not list((tmp_path / "record").glob("*checkpoint*/*"))


def limited(limit_us: float, waits_ns: int) -> tuple[list[str], Any]:
    """Look at latencies under a limit; return what was told, and the counts."""
    told: list[str] = []
    latency = Latency()
    latency.add(waits_ns, 1_000)
    session = SimpleNamespace(
        timing=SimpleNamespace(latencies={"receive_to_state": latency}), counts=Counter()
    )
    run = SimpleNamespace(
        settings=SimpleNamespace(profile=SimpleNamespace(live_latency_limit_us=limit_us)),
        session=session,
        _timed_s=0.0,
        _tell_state=told.append,
    )
    for now_s in (5.0, 11.0, 12.0):  # too early, due, too early again
        LiveRun._look_at_latency(cast("LiveRun", run), now_s)
    return told, session.counts


def test_a_latency_over_the_limit_is_told_once() -> None:
    """Ten seconds are looked at together; under the limit, or without one, nothing is said."""
    told, counts = limited(150.0, 400_000)
    assert len(told) == counts["latency_over_limit"] == 1
    assert "over live.latency_limit_us = 150" in told[0]
    assert limited(500.0, 400_000)[0] == []
    assert limited(0.0, 400_000)[0] == []


@contextmanager
def frozen(said: bytes) -> Iterator[tuple[str, int]]:
    """Listen, say something to who connects, and then nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept = []

        def accept() -> None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.sendall(said)
            kept.append(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[:2]
        thread.join()
        for one in kept:
            one.close()


@pytest.mark.parametrize("said", [b"", b"lsg_version=0.8.0\n", b"lsg_version=0.8.0\ncram="])
def test_a_frozen_handshake_can_be_stopped(said: bytes) -> None:
    """Within a second, wherever it is stuck, and told as what it is."""
    began_s = time.monotonic()
    with frozen(said) as address, pytest.raises(RequestError, match="stopped before"):
        open_connection(
            parse_api_key(KEY, "key"), address, Terms("GLBX.MDP3"), WANTED,
            lambda: time.monotonic() > began_s + 0.2,
        )  # fmt: skip
    assert time.monotonic() - began_s < 5.0


def test_an_answer_that_never_comes_is_waited_for_as_long_as_asked() -> None:
    """Looking whether to stop doesn't shorten the time an answer has."""
    began_s = time.monotonic()
    terms = Terms("GLBX.MDP3", answer_timeout_s=0.9)
    with frozen(b"") as address, pytest.raises(RequestError, match=r"no answer within 0\.9 s"):
        open_connection(parse_api_key(KEY, "key"), address, terms, WANTED)
    assert 0.8 < time.monotonic() - began_s < 5.0


def test_a_record_with_sending_times_says_so() -> None:
    """The header of what `ifd gateway` sends then has ts_out, by which records are framed."""
    from ifd_fast.gateway_records import encode_live_header

    reader = HeaderReader("live")
    header, _ = reader.feed(memoryview(encode_live_header("GLBX.MDP3", 0, ts_out=True)))
    assert header is not None
    assert header.ts_out
