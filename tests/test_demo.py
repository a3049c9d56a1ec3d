"""`ifd demo`: what a newcomer runs first finds what it hid, says why, and counts honestly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifd_fast import demonstration, warming
from ifd_fast.commands import demo as command
from ifd_fast.demonstration import Demonstration, Hidden, Scale, demonstrate, reason_of
from ifd_fast.demonstration_live import play_live
from ifd_fast.errors import IfdError, UsageError
from tests.strategies_runs import invoke
from tests.test_end_to_end import FIRST_DATE, WORLD

pytestmark = [pytest.mark.jit, pytest.mark.slow]


class Notes:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.sessions: list[tuple[int, int]] = []
        self.planted: list[Hidden] = []
        self.alerts: list[dict[str, Any]] = []

    def session_made(self, number: int, of: int) -> None:
        """Take note."""
        self.sessions.append((number, of))

    def hidden(self, metaorders: Any) -> None:
        """Take note; nothing is found yet."""
        assert all(one.found_after_s is None for one in metaorders)
        self.planted = list(metaorders)

    def alert(self, signal: dict[str, Any]) -> None:
        """Take note."""
        self.alerts.append(signal)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Scale:
    """Return a demonstration of 14 options and 16 sessions, made in this process.

    So far apart that in so few options none looks like a leg to the one before it.
    """
    path = tmp_path_factory.mktemp("world") / "small.toml"
    path.write_text(WORLD)
    return Scale(
        str(path), FIRST_DATE, sessions=16, usual_trades=(20, 5_000), apart_s=2_700, workers=1
    )


@pytest.fixture(scope="module")
def shown(small: Scale, tmp_path_factory: pytest.TempPathFactory) -> tuple[Demonstration, Notes]:
    """Return a small demonstration, and what was told while it ran."""
    notes = Notes()
    return demonstrate(tmp_path_factory.mktemp("demo"), 1, notes, small), notes


def test_all_that_is_hidden_is_found(shown: tuple[Demonstration, Notes]) -> None:
    """Calls and puts, bought and sold, are found while they trade, and nothing beside them.

    The profile promises 0.1 false alerts a session: nine sessions in ten have none.
    """
    found, notes = shown
    assert notes.sessions == [(number, 16) for number in range(1, 17)]
    assert {(one.symbol.split()[1][0], one.side) for one in found.hidden} == {
        ("C", "BUY"), ("C", "SELL"), ("P", "BUY"), ("P", "SELL"),
    }  # fmt: skip
    assert found.found == len(found.hidden) == 4
    assert found.promised == demonstration.PROMISED == 0.1
    assert found.false == []
    for one in found.hidden:
        assert one.found_after_s is not None
        assert one.traded_by_then is not None
        assert 0 < one.found_after_s < 900
        assert 0 < one.traded_by_then < one.contracts


def test_alerts_are_told_as_they_come(shown: tuple[Demonstration, Notes]) -> None:
    """Each is told in order of time, with a reason that has its numbers."""
    found, notes = shown
    times = [alert["timestamp"] for alert in notes.alerts]
    assert times == sorted(times)
    assert {alert["signal_id"] for alert in notes.alerts} == {
        alert["signal_id"] for alert in found.alerts
    }
    first = found.alerts[0]
    assert f"{first['ask_volume']} contracts lifted the ask" in reason_of(first)
    document = found.to_json()
    assert json.loads(json.dumps(document)) == document
    assert (document["found"], document["missed"]) == (4, 0)
    assert (document["false"], document["promised_false_per_session"]) == (0, 0.1)


def test_late_and_strange_alerts_are_false(tmp_path: Path) -> None:
    """An alert finds what runs in its option and side until 300 s after the end, nothing else."""
    second, start = 10**9, 1_770_044_400
    one = Hidden("NQH6 C21000", "BUY", start * second, (start + 900) * second, 240)
    plant = {"symbol": one.symbol, "side": "BUY", "trades": [
        {"ts_event_ns": (start + 10 * n) * second, "filled": 3} for n in range(80)]}  # fmt: skip
    (tmp_path / "a.truth.json").write_text(json.dumps({"plants": [plant]}))

    seen = [(-1, 7, "BUY"), (95, 7, "BUY"), (1_200, 7, "BUY"), (1_201, 7, "BUY"),
            (95, 7, "SELL"), (95, 8, "BUY")]  # fmt: skip
    alerts = pl.DataFrame(
        {
            "timestamp": [(start + after_s) * second for after_s, _, _ in seen],
            "instrument_id": [instrument_id for _, instrument_id, _ in seen],
            "dominant_side": [side for _, _, side in seen],
            "final_confidence": [0.9] * len(seen),
            "signal_id": list("abcdef"),
        },
        schema_overrides={"timestamp": pl.Datetime("ns", "UTC"), "instrument_id": pl.UInt32()},
    )
    false = demonstration._compare([one], alerts, {one.symbol: 7}, tmp_path)
    assert [alert["signal_id"] for alert in false] == ["a", "d", "e", "f"]
    assert (one.found_after_s, one.traded_by_then) == (95.0, 30)


def test_the_command_prints_a_scoreboard(
    shown: tuple[Demonstration, Notes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Hidden, alerts with reasons, scoreboard; --quiet the last only, --json only JSON."""

    def play(folder: Path, seed: int, watcher: Any, *, live: bool) -> Demonstration:
        found, notes = shown
        assert seed == 1
        if live:
            waited = {"receive_to_state": {"p50_us": 11.0, "p99_us": 1_234.0}}
            digests = {"rows_digest": "0123456789abcdef0123"}
            found = replace(found, live={"records": 7, "latency": waited, "digests": digests})
        folder.mkdir(exist_ok=True)
        watcher.session_made(1, 1)
        watcher.hidden(found.hidden)
        for alert in notes.alerts:
            watcher.alert(alert)
        return found

    monkeypatch.setattr(demonstration, "demonstrate", play)
    monkeypatch.setattr(warming, "warm_up", lambda **_: warming.Warmed(None, 2.0, 9, 1))
    done = invoke("demo", "--out", tmp_path / "kept")
    assert done.code == 0
    for text in ("1 kernels compiled", "hidden in it", "Alerts as they come", "lifted the ask",
                 "Scoreboard, seed 1",
                 "hidden 4, found 4, missed 0, false alerts 0",
                 "promises 0.1 false alerts a session; the default one promises 1.",
                 "Try: ifd explain 20"):  # fmt: skip
        assert text in done.output
    assert (tmp_path / "kept").is_dir()
    quiet = invoke("demo", "--quiet").output
    assert "Scoreboard" in quiet
    assert "as they come" not in quiet
    assert json.loads(invoke("demo", "--json").output)["found"] == 4
    live = invoke("demo", "--live").output
    assert "Serving it live" in live
    assert "p50 11 us, p99 1,234 us" in live
    assert "the same rows_digest 0123456789abcdef." in live


def test_live_gives_what_the_replay_gave(
    shown: tuple[Demonstration, Notes], tmp_path: Path
) -> None:
    """The same session over a socket: the same alerts as they come, the same rows from its record.

    Through the programs themselves; that the record's digest is the live one is asked in there.
    """
    found, _ = shown
    files = sorted((found.run.parent / "session").glob("*.dbn*"))
    told: list[dict[str, Any]] = []
    store, profile = found.run.parent / "baselines.duckdb", found.run.parent / "profile.toml"
    result, end = play_live(files, profile, store, tmp_path, told.append, speed="20000x")
    alerts = {one["signal_id"] for one in found.alerts}
    assert {one["signal_id"] for one in told if one["alert"]} == alerts
    assert set(result.signals.filter("alert")["signal_id"]) == alerts
    assert end["connections"] == 1
    assert end["latency"]["receive_to_state"]["count"] > 0


def test_a_live_session_that_fails_is_told(tmp_path: Path) -> None:
    """A file that is none is said to be the reason, not waited for."""
    (tmp_path / "a.mbo.dbn").write_text("none")
    with pytest.raises(IfdError, match="did not start"):
        play_live([tmp_path / "a.mbo.dbn"], tmp_path, tmp_path, tmp_path, lambda _: None)


def test_a_folder_that_holds_anything_is_refused(tmp_path: Path) -> None:
    """Nobody's files are written over."""
    (tmp_path / "mine").write_text("x")
    with pytest.raises(UsageError, match="empty or new folder"):
        demonstrate(tmp_path, 1, Notes())
    assert command.demo.name == "demo"
