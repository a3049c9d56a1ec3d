"""What `ifd verify` and `ifd explain` make of the run of a live session's record.

Method: a session of two connections, the second a replay that overlaps the first, is recorded and
replayed. Its files alone give other rows, so that whoever leaves the journal out is found.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ifd_fast.record_replay import replay_record
from ifd_fast.replaying import replay
from tests.strategies_interface import SECOND
from tests.strategies_repair import Begin, Session, session_events, small_profile
from tests.strategies_runs import invoke

pytestmark = [pytest.mark.jit]
EVENTS, CUT, RESUMED = 300, 160, 120


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the replay of a record; the record lies beside it."""
    folder = tmp_path_factory.mktemp("live")
    events = session_events(EVENTS, 4)
    resumed_ns = int(events["ts_event"][RESUMED]) // SECOND * SECOND
    connections = [Begin(0, CUT), Begin(CUT, EVENTS, replay_from_ns=resumed_ns)]
    record = Session(events, connections).write(folder / "record")
    replay_record(record, profile=small_profile(folder), out=folder / "run")
    return folder / "run"


def test_a_live_record_is_verified_with_its_journal(run: Path, tmp_path: Path) -> None:
    """Every digest is found anew; without the journal it would not be."""
    done = invoke("verify", "replay", run, "--json")
    assert done.code == 0, done.output
    rows = json.loads(done.output)
    expected = {row["what"]: row["expected"] for row in rows}
    assert expected["rows_digest, replayed"] is not None
    files = sorted((run.parent / "record").glob("*.dbn"))
    assert len(files) == 2
    alone = replay(files, profile=small_profile(tmp_path))
    assert alone.rows_digest != expected["rows_digest, replayed"]


def test_a_changed_journal_is_refused(run: Path) -> None:
    """A byte of the journal that is not as it was written is bad data, not a difference."""
    journal = run.parent / "record" / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole.replace(b"eof", b"EOF", 1))
    try:
        done = invoke("verify", "replay", run)
    finally:
        journal.write_bytes(whole)
    assert done.code == 3
    assert "journal.jsonl" in done.output


@pytest.mark.parametrize(
    "command",
    [("verify", "lookahead"), ("verify", "warmup"), ("explain", "--all", "--run")],
    ids=" ".join,
)
def test_what_reads_files_alone_refuses(run: Path, command: tuple[str, ...]) -> None:
    """The record is named, and what can be done instead."""
    done = invoke(*command, run)
    assert done.code == 2
    assert str(run.parent / "record") in done.output
    assert "ifd verify replay" in done.output
