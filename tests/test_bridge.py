"""The three functions that tie client, engine and receivers together."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from ifd_fast.bridge import (
    connect_mbo_to_ifd,
    handle_institutional_signal,
    run_ifd_v3_analysis,
    shared_distributor,
)
from ifd_fast.detection import IFDv3Engine
from ifd_fast.distribution import SignalDistributor
from ifd_fast.errors import ConfigError, UsageError
from ifd_fast.signals import InstitutionalSignalV3
from ifd_fast.streaming import MBOStreamingClient
from tests.strategies_interface import SMALL, market, record, store

pytestmark = pytest.mark.usefixtures("fixed_weights")


class Page:
    """A dashboard that keeps what it is sent."""

    def __init__(self) -> None:
        self.signals: list[InstitutionalSignalV3] = []

    def send_signal(self, signal: InstitutionalSignalV3) -> None:
        """Keep one."""
        self.signals.append(signal)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a profile with everything at its smallest."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL, "utf-8")
    return path


def play(client: MBOStreamingClient) -> None:
    """Feed the whole stream."""
    client.feed(market())
    client.flush()


def test_client_to_engine_to_page(small: Path) -> None:
    """Connected as the seeds have it, signals reach the pages of the distributor it returns."""
    client, engine, page = MBOStreamingClient(profile=small), IFDv3Engine(small, store()), Page()
    distributor = connect_mbo_to_ifd(client, engine)
    assert distributor is not None
    distributor.dashboard_clients.append(page)
    play(client)
    assert [one.dominant_side for one in page.signals] == ["BUY", "SELL", "SELL", "BUY"]


def test_a_receiver_of_ones_own(small: Path) -> None:
    """A distributor or a plain function may be given instead."""
    engine, page, mine = IFDv3Engine(small, store()), Page(), SignalDistributor()
    mine.dashboard_clients.append(page)
    client = MBOStreamingClient(profile=small)
    assert connect_mbo_to_ifd(client, engine, mine) is mine
    play(client)
    plain: list[InstitutionalSignalV3] = []
    client = MBOStreamingClient(profile=small)
    assert connect_mbo_to_ifd(client, engine, plain.append) is None
    play(client)
    assert page.signals == plain
    assert len(plain) == 4


def test_a_receiver_that_raises_stops_no_window(small: Path) -> None:
    """A function that fails reaches the client's `on_error`; all windows are remembered."""

    def fail(_: InstitutionalSignalV3) -> None:
        raise RuntimeError("mine")

    client, errors = MBOStreamingClient(profile=small), []
    client.on_error = lambda error, _: errors.append(str(error))
    connect_mbo_to_ifd(client, IFDv3Engine(small, store()), fail)
    play(client)
    assert errors == ["mine"] * 4
    assert client.callback_failures == {"on_pressure_metrics": 4}
    assert len(client.recent) > 0


def test_signals_of_ones_own_reach_the_shared_distributor(monkeypatch: pytest.MonkeyPatch) -> None:
    """`handle_institutional_signal(signal)` alone goes to the process's one distributor."""
    monkeypatch.setenv("IFD_DISTRIBUTION_MAX_SIGNALS_PER_HOUR", "1")
    shared_distributor.cache_clear()
    page = Page()
    shared_distributor().dashboard_clients.append(page)
    signal = IFDv3Engine().analyze_pressure_event(record())
    assert signal is not None
    assert handle_institutional_signal(signal)
    assert not handle_institutional_signal(signal)
    assert page.signals == [signal]
    shared_distributor.cache_clear()


def test_analysis_of_a_batch_is_json(small: Path) -> None:
    """A batch gives dictionaries ready for JSON, the most confident first, and what they are of."""
    batch = [
        record(ask_volume=60, total_trades=40),
        record(bid_volume=300, ask_volume=2, instrument_id=103, quality="D"),
        record(bid_volume=20, ask_volume=20),
        record(option_type="F", strike=float("nan")),
        record(),
    ]
    config = {"profile": str(small), "baselines": str(store())}
    actual = run_ifd_v3_analysis(iter(batch), config)
    assert json.loads(json.dumps(actual, allow_nan=False)) == actual
    summary = actual["summary"]
    assert (summary["windows_analyzed"], summary["candidates"]) == (5, len(actual["signals"]))
    assert summary["buy"] + summary["sell"] == summary["candidates"] >= 2
    assert summary["alerts"] == sum(one["alert"] for one in actual["signals"])
    assert summary["has_history"]
    confidences = [one["final_confidence"] for one in actual["signals"]]
    assert confidences == sorted(confidences, reverse=True)
    names = {one.name for one in dataclasses.fields(InstitutionalSignalV3)}
    assert set(actual["signals"][0]) == names
    assert actual["signals"][0]["timestamp"] == "2026-02-02T13:05:00+00:00"


def test_an_empty_batch(small: Path) -> None:
    """No window is no signal, and no error."""
    actual = run_ifd_v3_analysis([], {"profile": str(small)})
    assert actual["signals"] == []
    assert actual["summary"]["windows_analyzed"] == 0


@pytest.mark.parametrize(
    ("config", "kind", "message"),
    [
        ({"profil": "x"}, UsageError, "had 'profil'"),
        ({"profile": "ifd_v3_producton"}, ConfigError, "Did you mean ifd_v3_production"),
        ({"baselines": "/nowhere/x.duckdb"}, UsageError, "ifd baseline build"),
    ],
)
def test_a_wrong_configuration_is_named(
    config: dict[str, Any], kind: type[Exception], message: str
) -> None:
    """An unknown key, profile or store is an error before anything is judged."""
    with pytest.raises(kind, match=message):
        run_ifd_v3_analysis([], config)
