"""A repaired record has the facts of a session that was never disturbed, in its gaps too."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ifd_fast.collecting import ReplayResult
from ifd_fast.config import load_settings
from ifd_fast.history_bridge import align_prints
from ifd_fast.live_states import State
from ifd_fast.record_gaps import Gap, symbols_of
from ifd_fast.record_reader import RecordReader
from ifd_fast.record_replay import replay_record
from ifd_fast.repair_files import RepairFiles
from ifd_fast.repairing import find_needs, finish
from ifd_fast.session_record import EntryKind
from tests.live_server import Script, Told, serving
from tests.strategies_interface import (
    CALL,
    FUTURE,
    LATE,
    PUT,
    SECOND,
    UNLISTED,
    definitions,
)
from tests.strategies_quality import status
from tests.strategies_repair import (
    Begin,
    Session,
    history,
    late_events,
    session_events,
    small_profile,
    write_record,
)
from tests.test_live_session import Run, live_header, message

SEEDS = int(os.environ.get("REPAIR_SEEDS", "6"))
EVENTS = 900
MARGIN_NS = 3 * SECOND


def fill(
    folder: Path, events: NDArray[np.void], beside: Sequence[bytes] = (), version: int = 3
) -> tuple[list[Gap], list[dict[str, int]]]:
    """Put history of all gaps aside as a repair would; return them, and how each fits."""
    reader = RecordReader(folder)
    files = RepairFiles(folder)
    files.folder.mkdir()
    needs = find_needs(reader, files, load_settings(None).profile)
    counts = []
    for need in needs:
        for schema, request in need.requests:
            data = history(events, request.start_ns, request.end_ns, schema, beside, version)
            files.download(need.gap.number, schema).write_bytes(data)
        counts.append(finish(reader, need, files, 0))
    return [need.gap for need in needs], counts


@cache
def clean_of(seed: int, folder: Path) -> ReplayResult:
    """Return what the session finds that nothing disturbs."""
    events = session_events(EVENTS, seed)
    record = Session(events, [Begin(0, EVENTS)]).write(folder / f"clean{seed}")
    return replay_record(record, profile=small_profile(folder))


def check(result: ReplayResult, clean: ReplayResult, gaps: list[Gap]) -> None:
    """Compare: all columns but the grade and what follows from it; grades as promised."""
    graded = ["quality", "confidence"]
    assert result.windows.drop(graded).equals(clean.windows.drop(graded))
    assert result.facts_digest == clean.facts_digest is not None
    assert result.counts["applied"] == clean.counts["applied"]
    for row, before in zip(
        result.windows.iter_rows(named=True), clean.windows.iter_rows(named=True), strict=True
    ):
        touched = any(
            row["window_start"].timestamp() * SECOND < gap.end_ns
            and row["window_end"].timestamp() * SECOND > gap.start_ns
            for gap in gaps
        )
        assert row["quality"] == (max(before["quality"], "B") if touched else before["quality"])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for what several tests compare with."""
    return tmp_path_factory.mktemp("repair")


def drawn(seed: int) -> tuple[list[Begin], int]:
    """Return connections with gaps between them, drawn; and how many gaps there are."""
    rng = np.random.default_rng(seed)
    events = session_events(EVENTS, seed)
    places = np.sort(rng.choice(np.arange(60, EVENTS - 60), 6, replace=False)).tolist()
    connections = [Begin(0, places[0], cut_bytes=int(rng.integers(0, 56)))]
    if rng.random() < 0.5:  # lost, and resumed by a replay, before the gap
        before = connections.pop()
        from_ns = int(events["ts_event"][max(before.stop - 10, 0)]) // SECOND * SECOND
        connections += [before._replace(stop=max(before.stop - 5, 1))]
        connections += [Begin(0, before.stop, from_ns, before.cut_bytes)]
    middle = places[0]
    if rng.random() < 0.5:  # a snapshot, and lost before anything else came
        middle = int(rng.integers(places[0], places[1] + 1))
        connections.append(Begin(middle, middle))
    gaps = 2
    if rng.random() < 0.6 and places[1] - middle > 20:  # one that lived for seconds
        short = int(rng.integers(middle + 6, places[1] - 8))
        connections.append(Begin(short, short + int(rng.integers(1, 5))))
        gaps += 1
    connections.append(Begin(places[1], places[2]))
    if rng.random() < 0.5:
        connections.append(Begin(places[3], places[4], cut_bytes=20))
        connections.append(Begin(places[5], EVENTS))
        return connections, gaps + 1
    if rng.random() < 0.5:  # one of which nothing came but a heartbeat, which closes the gap
        join_ns = int(events["ts_recv"][places[3]])
        connections.append(Begin(places[3], places[3], tick_ns=join_ns - SECOND // 2))
        connections.append(Begin(places[4], EVENTS))
        return connections, gaps + 1
    connections.append(Begin(places[3], EVENTS))
    return connections, gaps


@pytest.mark.jit
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_repaired_record_is_the_clean_session(tmp_path: Path, shared: Path, seed: int) -> None:
    """Gaps, ties, cut records, replays, snapshots that led nowhere; history captured elsewhere."""
    events = session_events(EVENTS, seed)
    connections, count = drawn(seed)
    record = Session(events, connections).write(tmp_path / "record")
    torn = replay_record(record, profile=small_profile(tmp_path))
    clean = clean_of(seed, shared)
    assert "A" in set(clean.windows["quality"])
    assert torn.facts_digest != clean.facts_digest
    assert "F" in set(torn.windows["quality"])
    gaps, counts = fill(record, late_events(events, 40_000 * (seed % 2)))
    assert len(gaps) == count
    for one in counts:
        assert one["missing_before"] == one["changed_before"] == one["changed_behind"] == 0
        dropped = one["early"] + one["counted_before"] + one["behind"] + one["snapshot"]
        assert one["records"] == one["played"] + dropped
    repaired = replay_record(record, profile=small_profile(tmp_path))
    check(repaired, clean, gaps)


@pytest.mark.jit
def test_what_the_report_says_of_a_repair(tmp_path: Path) -> None:
    """The report names the gap that was repaired, and it is no gap any more; nor the first."""
    events = session_events(EVENTS, 3)
    connections = [Begin(0, 300), Begin(350, 350), Begin(400, 600), Begin(700, EVENTS)]
    record = Session(events, connections).write(tmp_path / "record")
    profile = small_profile(tmp_path)
    torn = replay_record(record, profile=profile)
    assert len(torn.document["observed_gaps_ns"]) == 2  # a snapshot that led nowhere is none
    assert torn.document["repaired_gaps"] == []
    assert torn.windows["quality"][-1] != "F"
    gaps, counts = fill(record, events)
    assert [(gap.before, gap.joins) for gap in gaps] == [((1,), (2, 3)), ((3,), (4,))]
    assert symbols_of(RecordReader(record), 4) == ("GLBX.MDP3", ("NQ.FUT", "NQ.OPT"))
    repaired = replay_record(record, profile=profile, out=tmp_path / "out")
    assert repaired.document["observed_gaps_ns"] == []
    said = repaired.document["repaired_gaps"]
    assert [(one["connection"], one["start_ns"], one["end_ns"]) for one in said] == [
        (gap.number, gap.start_ns, gap.end_ns) for gap in gaps
    ]
    assert [one["played"] for one in said] == [one["played"] for one in counts] == [100, 100]
    names = [Path(one["name"]).name for one in repaired.document["files"]]
    assert names.index("0003.mbo.dbn") < names.index("0003.dbn") < names.index("0004.mbo.dbn")
    assert all(one["sha256"] for one in repaired.document["files"])


@pytest.mark.jit
def test_a_connection_that_moved_no_time_brought_nothing(tmp_path: Path) -> None:
    """Of one lost after a record older than the loss, all is dropped: history has that, too."""
    events = session_events(EVENTS, 4)
    place = 350 + int((events["action"][350:] == ord("T")).argmax())
    events["ts_event"][place] = events["ts_event"][280]
    profile = small_profile(tmp_path)
    clean = Session(events, [Begin(0, EVENTS)]).write(tmp_path / "clean")
    connections = [Begin(0, 300), Begin(place, place + 1), Begin(400, EVENTS)]
    record = Session(events, connections).write(tmp_path / "record")
    gaps, _ = fill(record, events)
    assert [(gap.before, gap.joins) for gap in gaps] == [((1,), (2, 3))]
    check(replay_record(record, profile=profile), replay_record(clean, profile=profile), gaps)


@pytest.mark.jit
def test_definitions_and_halts_of_the_gap_act(tmp_path: Path) -> None:
    """An option listed in the gap has its name, windows of a halt in it are graded C."""
    ids = np.array([FUTURE, CALL, PUT, LATE], np.uint32)
    events = session_events(EVENTS, 5, ids=ids)
    is_late = events["instrument_id"] == LATE
    events["instrument_id"][is_late & (np.arange(EVENTS) < 320)] = CALL
    at_ns = int(events["ts_event"][310])
    halts = [
        status(at_ns + 400 * SECOND, trading=False, instrument_id=PUT),
        status(at_ns + 500 * SECOND, trading=True, instrument_id=PUT),
    ]
    beside = [definitions([UNLISTED], at_ns), *halts]
    record = Session(events, [Begin(0, 300), Begin(700, EVENTS)]).write(tmp_path / "record")
    _, (counts,) = fill(record, events, beside)
    assert counts["undefined"] == 0
    windows = replay_record(record, profile=small_profile(tmp_path)).windows
    late = windows.filter(instrument_id=LATE)
    assert set(late["symbol"]) == {"NQH6 C20200"}
    assert set(late["quality"]) == {"A", "B"}
    halted = windows.filter(instrument_id=PUT, quality="C")
    assert 1 <= halted.height <= 2
    shutil.rmtree(record / "repair")
    _, (counts,) = fill(record, events)
    assert counts["undefined"] == 1
    late = replay_record(record, profile=small_profile(tmp_path)).windows.filter(instrument_id=LATE)
    assert set(late["quality"]) == {"F"}
    assert set(late["symbol"]) == {""} or late["symbol"].is_null().all()


@pytest.mark.jit
def test_a_live_session_that_was_refused_its_replay_is_repaired(
    tmp_path: Path, shared: Path
) -> None:
    """Over sockets: aged out, a snapshot, a heartbeat that moves time before the next record.

    The gap ends no earlier than the snapshot was made; history is of DBN 2.
    """
    events = session_events(EVENTS, 0)
    made = Session(events, [])
    done = message(0x17, 3, "Finished") * 2
    begin = live_header() + definitions() + done
    left_ns, joined_ns = int(events["ts_recv"][299]), int(events["ts_recv"][400])
    beat = message(0x17, 0, "Heartbeat", joined_ns + SECOND)
    live, heard, closed = (threading.Event() for _ in range(3))

    def joins() -> Iterator[bytes]:
        yield begin + made.snapshot(400)
        live.wait(5)
        yield beat
        heard.wait(5)
        yield beat
        closed.wait(5)
        yield events[400:].tobytes()

    def play(number: int, told: Told) -> Script:
        if number == 1:
            return Script([begin + made.snapshot(0) + events[:300].tobytes()], "eof")
        if told.of("mbo").get("start"):
            run.clock.offset_ns += joined_ns + SECOND - left_ns  # so long nobody was let in
            return Script([live_header() + message(0x15, 8, "Replay data aged out")], "eof")
        return Script(joins(), "hold")

    with serving(play) as gateway:
        run = Run(gateway.address, wall_ns=left_ns)
        run.until(
            lambda: run.session.counts["connections"] == 3 and run.session.state is State.LIVE
        )
        live.set()
        run.until(lambda: run.session.counts["ticks"] > 0)
        assert run.engine.watermark_ns < joined_ns
        heard.set()
        run.until(lambda: any(one.kind is EntryKind.GAP for one in run.record.entries))
        closed.set()
        run.until(lambda: run.engine.watermark_ns >= int(events["ts_event"][-1]))
        run.session.stop()
    record = write_record(run.record, tmp_path / "record")
    gaps, (counts,) = fill(record, events, version=2)
    assert [(gap.before, gap.joins) for gap in gaps] == [((1, 2), (3,))]
    assert gaps[0].end_ns >= joined_ns
    assert counts["played"] == 100
    repaired = replay_record(record, profile=small_profile(tmp_path))
    check(repaired, clean_of(0, shared), gaps)


_prints = st.lists(st.integers(0, 3), max_size=12).map(lambda some: np.array(some, np.uint64))


@pytest.mark.border
@given(_prints, _prints, _prints)
def test_a_place_is_found_by_what_both_have(
    before: NDArray[np.uint64], shared: NDArray[np.uint64], beyond: NDArray[np.uint64]
) -> None:
    """Two lists that overlap are joined at a place where they agree; none before is better."""
    known, live = np.concatenate([before, shared]), np.concatenate([shared, beyond])
    cut, differ = align_prints(known, live if len(live) else None)
    if cut is None:
        assert not np.isin(live[: len(known)], known).any()
        return
    if len(shared):
        assert differ == 0
        assert cut <= len(before)
    both = min(len(known) - cut, len(live))
    assert np.count_nonzero(known[cut : cut + both] != live[:both]) == differ


@pytest.mark.border
def test_a_corrected_record_does_not_hide_the_place() -> None:
    """Where the first of both say something else, the others tell where they are."""
    known = np.array([5, 6, 7, 8, 9, 10], np.uint64)
    assert align_prints(known, np.array([77, 9, 10, 11], np.uint64)) == (3, 1)
    assert align_prints(known, np.array([8, 99, 10], np.uint64)) == (3, 1)
    assert align_prints(known, np.array([1, 2, 3], np.uint64)) == (None, 0)
    assert align_prints(known, None) == (None, 0)
