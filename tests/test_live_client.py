"""`MBOStreamingClient` connected: the windows of the fed bytes, and ends that are clear."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from ifd_fast.credentials import Secret
from ifd_fast.errors import CredentialError, RequestError, UsageError
from ifd_fast.gateway import Gateway
from ifd_fast.gateway_market import TEST_KEY, Market
from ifd_fast.metrics import PressureMetrics
from ifd_fast.streaming import MBOStreamingClient
from ifd_fast.warming import warm_live
from tests.gateway_client import little_market
from tests.historical_server import KEY
from tests.live_server import TestGateway, serving
from tests.strategies_interface import SMALL, fed
from tests.test_live_session import Run, live_header, message, records, send

READY = live_header() + message(0x17, 3, "Finished") * 2


def client_of(gateway: TestGateway, folder: Path, key: str | None = KEY) -> MBOStreamingClient:
    """Return a client that would connect to the tests' gateway."""
    path = folder / "live.toml"
    host, port = gateway.address
    path.write_text(SMALL + f'[databento]\nlive_gateway = "{host}:{port}"\n', "utf-8")
    return MBOStreamingClient(key, ["NQ.OPT"], profile=path)


@pytest.mark.jit
def test_a_connected_client_gives_the_windows_of_the_bytes(tmp_path: Path) -> None:
    """Windows come as the bytes do; the last, cut short, when the client is stopped."""
    data = READY + b"".join(records())
    found: list[PressureMetrics] = []
    with serving(partial(send, data)) as gateway:
        client = client_of(gateway, tmp_path)
        # First what needs no gateway: kernels that aren't compiled yet take longer than it waits.
        expected = fed(MBOStreamingClient(profile=tmp_path / "live.toml"), [data])
        warm_live()
        client.on_pressure_metrics = found.append
        client.start()
        until_s = time.monotonic() + 30
        while len(found) < 10 and time.monotonic() < until_s:
            time.sleep(0.01)
        assert client.state in {"live", "lagging"}
        client.stop()
        client.block_for_close()
    assert client.state == "down"
    assert [repr(one) for one in found] == [repr(one) for one in expected]
    with pytest.raises(UsageError, match="new MBOStreamingClient"):
        client.feed(b"")


def test_waiting_ends_the_session_in_time(tmp_path: Path) -> None:
    """`block_for_close` with a time ends what has not ended by itself."""
    with serving(partial(send, READY)) as gateway:
        client = client_of(gateway, tmp_path)
        client.start()
        client.block_for_close(0.05)
        assert client.state == "down"


def test_an_error_in_the_session_reaches_who_waits(tmp_path: Path) -> None:
    """A key that is deactivated while the session runs is raised where somebody waits."""
    with serving(partial(send, READY + message(0x15, 2, "deactivated"))) as gateway:
        client = client_of(gateway, tmp_path)
        client.start()
        with pytest.raises(CredentialError, match="deactivated"):
            client.block_for_close(5)


def test_what_cant_connect_says_so(tmp_path: Path) -> None:
    """No key, a refused key, nobody there, not connected: each has its own words."""
    with serving() as gateway:
        with pytest.raises(CredentialError, match="api_key"):
            client_of(gateway, tmp_path, None).connect()
        with pytest.raises(CredentialError, match="doesn't let"):
            client_of(gateway, tmp_path, KEY[:-1] + "r").connect()
    with pytest.raises(RequestError, match="can't be reached"):
        client_of(gateway, tmp_path).connect()
    with pytest.raises(UsageError, match="connect"):
        client_of(gateway, tmp_path).stop()


@pytest.mark.jit
def test_our_own_gateway_is_read_to_its_end_and_resumed() -> None:
    """What `ifd gateway` replays after it closed was all delivered: nothing new is applied."""
    with Gateway(Market(little_market(6000))) as gateway:
        run = Run(("127.0.0.1", gateway.port), key=Secret(TEST_KEY))
        run.until(lambda: run.session.counts["connections_lost"] == 1)
        applied = int(run.engine.state.actions.sum())
        run.until(lambda: run.session.counts["connections_lost"] == 2)
        assert int(run.engine.state.actions.sum()) == applied >= 6000
        assert run.session.duplicates["duplicates"] > 0
        assert run.session.duplicates["changed_duplicates"] == 0
        run.session.stop()
