"""`ifd explain`: signals come out of record and baselines alone, or it says why they don't.

Method: a run of over a thousand signals is recorded once. Its signals file is deleted, its record
changed by a byte, its settings and baselines swapped for others.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifd_fast import sources
from ifd_fast.explaining import Explanation, differing_fields, explain, reproduce, stored_signals
from ifd_fast.explanations import gates_of, in_words, list_components, to_json
from ifd_fast.recordings import open_recording
from ifd_fast.replaying import replay
from ifd_fast.signal_ids import parse_id
from tests.strategies_interface import OPEN, SECOND, store
from tests.strategies_runs import bursts, copy_run, invoke, recorded_run
from tests.strategies_scoring import WEIGHTS, weighed_by

pytestmark = [pytest.mark.jit, pytest.mark.slow]


@pytest.fixture(scope="module")
def signals() -> pl.DataFrame:
    """Return the signals of the recorded run."""
    return pl.read_parquet(recorded_run() / "signals.parquet")


@pytest.fixture(scope="module")
def explained(signals: pl.DataFrame) -> list[Explanation]:
    """Return every row of every id explained, without the signals file."""
    ids = signals["signal_id"].unique(maintain_order=True).to_list()
    return explain(ids, open_recording(recorded_run()), at="all")


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """Return the record with one byte changed: a trade of 3 contracts is one of 2."""
    data = bytearray(bursts())
    at = data.index((3).to_bytes(4, "little") + b"\x80\0T")  # size, flags, channel, action
    data[at] = 2
    (tmp_path / "changed.dbn").write_bytes(data)
    return tmp_path / "changed.dbn"


def test_a_thousand_signals_are_found_anew(tmp_path: Path) -> None:
    """With the signals file deleted, all signals come out again, to the bit, and say so."""
    run, signals = copy_run(tmp_path / "run")
    found = reproduce(open_recording(run))
    assert found.frame.height >= 1_000
    assert found.frame.equals(signals)
    done = invoke("explain", run, "--all", "--json")
    assert done.code == 0
    assert json.loads(done.output) == {
        "signals": signals.height,
        "signals_digest": found.signals_digest,
        "recorded_digest": found.signals_digest,
        "file_digest": None,
        "file": "gone",
        "same": True,
    }


def test_each_of_them_is_explained(signals: pl.DataFrame, explained: list[Explanation]) -> None:
    """Each row is rebuilt as it was, and its contracts are those of its trades."""
    assert len(explained) == signals.height >= 1_000
    assert not any(differing_fields(one, signals) for one in explained)
    assert all(same for one in explained for _, same in one.checks())
    assert {one.signal["dominant_side"] for one in explained} == {"BUY", "SELL"}
    assert {one.signal["option_type"] for one in explained} == {"C", "P"}


def test_trades_meet_the_book_as_it_stood(explained: list[Explanation]) -> None:
    """The quotes of the first burst are 10 to 11 points for 7 contracts, of the second 11 to 12."""
    first, second = (
        explained[0],
        next(one for one in explained if one.instant_ns > OPEN + 8_000 * SECOND),
    )
    for one, bid in ((first, 10.0), (second, 11.0)):
        trade = one.trades_within(300)[-1]
        assert (trade.bid, trade.bid_size, trade.ask, trade.ask_size) == (bid, 7, bid + 1, 7)
        assert trade.size == 3
        assert trade.ts_event_ns <= trade.scored_ns <= one.instant_ns
        (level,) = one.standing.bids
        assert (level.price_1e9, level.contracts, level.orders) == (round(bid * 1e9), 7, 1)


def test_components_and_gates_give_the_verdict(explained: list[Explanation]) -> None:
    """Log-odds add up to the confidence, and failed gates are those of the row."""
    from math import exp

    for one in explained[:50]:
        total = sum(value for _, value in list_components(one))
        expected = 1.0 / (1.0 + exp(-max(-12.0, min(12.0, total))))
        assert one.row["final_confidence"] == pytest.approx(expected, rel=1e-12)
        assert any(not gate.passed for gate in gates_of(one)) == (one.row["failed"] != 0)


def test_an_id_names_an_episode(signals: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id gives its first alert, or its first row if that is asked for; the rest isn't read."""
    monkeypatch.setattr(sources, "RAW_CHUNK_BYTES", 8_192)
    applied: list[int] = []
    recording = open_recording(recorded_run())
    both = signals.group_by("signal_id", maintain_order=True).agg(
        pl.col("alert").first().alias("first"), pl.col("alert").any().alias("any")
    )
    text = both.filter("any", ~pl.col("first"))["signal_id"][0]
    mine = signals.filter(pl.col("signal_id") == text)["timestamp"].cast(pl.Int64)
    (first,) = explain([text], recording, at="first")
    (alert,) = explain([text], recording, progress=lambda *counts: applied.append(counts[2]))
    assert first.instant_ns == parse_id(text).first_ns == mine[0]
    assert alert.signal["alert"]
    assert alert.instant_ns > first.instant_ns
    assert alert.episode[0] == (first.instant_ns, False)
    assert alert.episode[-1] == (alert.instant_ns, True)
    assert 0 < max(applied) < recording.document["counts"]["events"]


def test_the_command_explains_in_words(tmp_path: Path, signals: pl.DataFrame) -> None:
    """Words, tables, and with --out both as files; the JSON has everything."""
    run, _ = copy_run(tmp_path / "run")
    text = signals["signal_id"][0]
    done = invoke("explain", text, "--run", run, "--out", tmp_path / "out")
    assert done.code == 0
    for part in ("pressure", "Confidence, in log-odds", "Book at the instant", "History", "Trades"):
        assert part in done.output
    (document,) = json.loads(invoke("explain", text, "--run", run, "--json").output)
    assert document["signal"]["signal_id"] == text
    assert document["trades"]
    assert set(document["digests"]) == {"record", "config", "rules", "code", "baselines"}
    (written,) = (tmp_path / "out").glob("*.json")
    assert json.loads(written.read_text()) == document
    assert (tmp_path / "out" / f"{written.stem}.txt").read_text().count("Digests") == 1


def test_record_and_settings_alone_are_enough(signals: pl.DataFrame) -> None:
    """Without a run's folder, the record, the profile and the store give the same signal."""
    folder = recorded_run().parent
    done = invoke(
        "explain", signals["signal_id"][0], "--record", folder / "bursts.dbn",
        "--profile", folder / "profile.toml", "--baselines", store(), "--at", "first", "--json",
    )  # fmt: skip
    (document,) = json.loads(done.output)
    assert document["signal"]["final_confidence"] == signals["final_confidence"][0]


def test_one_byte_of_the_record(tmp_path: Path, changed: Path, signals: pl.DataFrame) -> None:
    """A changed record is refused by its digest; run anyway, its signals differ, and it says so."""
    run, _ = copy_run(tmp_path / "run")
    for arguments in (["--all"], [signals["signal_id"][0]]):
        done = invoke("explain", *arguments, "--run", run, "--record", changed)
        assert done.code == 3
        assert "changed.dbn: its SHA-256" in done.output
    done = invoke("explain", "--all", "--run", run, "--record", changed, "--anyway")
    assert done.code == 1
    assert "are not those of the run" in done.output


def test_a_file_of_signals_that_was_edited(tmp_path: Path, signals: pl.DataFrame) -> None:
    """A row that differs from what the record gives is named with its fields."""
    run, _ = copy_run(tmp_path / "run")
    edited = signals.with_columns(pl.col("final_confidence") * 0.5)
    edited.write_parquet(run / "signals.parquet")
    done = invoke("explain", signals["signal_id"][0], "--run", run)
    assert done.code == 1
    assert "signals.parquet has it otherwise: final_confidence" in done.output
    assert invoke("explain", "--all", "--run", run).code == 1
    (run / "signals.parquet").write_bytes(b"no parquet")
    assert invoke("explain", "--all", "--run", run).code == 3


def test_unknown_ids(signals: pl.DataFrame) -> None:
    """What is no id, and an id that never comes, are told; the instrument's own are named."""
    text = signals["signal_id"][0]
    run = recorded_run()
    assert "DATE-INSTRUMENT-B|S" in invoke("explain", "signal-1", "--run", run).output
    assert invoke("explain", text.replace("2026-02", "2026-13"), "--run", run).code == 2
    other = text.replace(str(parse_id(text).first_ns), str(parse_id(text).first_ns + 10**9))
    done = invoke("explain", other, "--run", run)
    assert done.code == 2
    assert text in done.output
    late = text.replace(str(parse_id(text).first_ns), str(OPEN + 10**15))
    assert invoke("explain", late, "--run", run).code == 2
    assert invoke("explain", "--run", run).code == 2


def test_other_settings_are_named_by_key(signals: pl.DataFrame) -> None:
    """An id made by other rules is refused, with each key that differs."""
    run, text = recorded_run(), signals["signal_id"][0]
    done = invoke("explain", text, "--run", run, "--profile", "ifd_v3_testing")
    assert done.code == 2
    assert "`scoring.cooldown_s` is 300.0, not 25.0" in done.output
    assert "`scoring.min_pressure_ratio`" not in done.output
    done = invoke("explain", text[:-12] + "0" * 12, "--run", run)
    assert done.code == 2
    assert "no known profile" in done.output


def test_missing_record_and_other_baselines(tmp_path: Path, signals: pl.DataFrame) -> None:
    """A record that is gone, and baselines of other sessions, are told by name."""
    run, text = recorded_run(), signals["signal_id"][0]
    assert "gone.dbn: no such file" in invoke(
        "explain", text, "--run", run, "--record", tmp_path / "gone.dbn"
    ).output  # fmt: skip
    shutil.copy(store(), tmp_path / "other.duckdb")
    assert invoke("baseline", "prune", "--db", tmp_path / "other.duckdb", "--keep-sessions",
                  "12").code == 0  # fmt: skip
    done = invoke("explain", text, "--run", run, "--baselines", tmp_path / "other.duckdb")
    assert done.code == 3
    assert "holds other sessions" in done.output


def test_a_candidate_without_history_is_explained(tmp_path: Path) -> None:
    """Without baselines nothing alerts: words and JSON still say what there is, grade F."""
    (tmp_path / "bursts.dbn").write_bytes(bursts())
    with weighed_by(WEIGHTS):
        found = replay(tmp_path / "bursts.dbn", profile="ifd_v3_testing", out=tmp_path / "run")
        assert not found.signals["alert"].any()
        recording = open_recording(tmp_path / "run")
        (one,) = explain([found.signals["signal_id"][0]], recording)
    assert "Gates not passed" in in_words(one)
    document: dict[str, Any] = to_json(one)
    assert document["signal"]["quality"] == "F"
    assert document["digests"]["baselines"] == {}


def test_no_file_is_no_signals(tmp_path: Path) -> None:
    """A run without a signals file, or no run at all, has nothing stored."""
    assert stored_signals(None) is None
    assert stored_signals(tmp_path) is None
