"""A play that stops anywhere, is saved, loaded into a fresh engine and goes on: the very same."""

from __future__ import annotations

import datetime as dt
import os
import random
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest

from ifd_fast.checkpoint_file import read_state, write_state
from ifd_fast.checkpoints import FOLDER, restore_checkpoint, save_checkpoint
from ifd_fast.collecting import Collector
from ifd_fast.config import Settings, load_settings
from ifd_fast.dbnwriter import encode_definitions
from ifd_fast.errors import DataError
from ifd_fast.histories import StoreHistory
from ifd_fast.record_files import RecordFiles, connection_file, encode_entry
from ifd_fast.record_reader import RecordReader
from ifd_fast.record_replay import RecordPlayer
from ifd_fast.replaying import make_engine
from ifd_fast.session_record import Entry, EntryKind, Json
from ifd_fast.simulated_files import pick_sessions, spread_records
from ifd_fast.simulation import Simulation
from ifd_fast.world import load_world
from ifd_kernels import book_state
from ifd_kernels.duplicates import LEFT
from ifd_kernels.score_state import HEAD, KEPT, NEVER
from tests.strategies_interface import LATE, OPEN, SECOND, SMALL, UNLISTED, definitions, run, store
from tests.test_live_session import live_header

pytestmark = [pytest.mark.jit, pytest.mark.slow]
CUTS = int(os.environ.get("CUTS", "4"))
PIECE_BYTES = 997
RECORDS = 46_000


class Found(NamedTuple):
    """What a play found."""

    rows: pl.DataFrame
    signals: pl.DataFrame
    handovers: pl.DataFrame
    account: dict[str, Any]
    gaps_ns: list[tuple[int, int]]


@cache
def settings() -> Settings:
    """Return settings with everything at its smallest."""
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(SMALL)
        file.flush()
        return load_settings(file.name)


def simulated() -> list[bytes]:
    """Return records of a simulated session; twice an id means another instrument from there on."""
    world = spread_records(load_world("session"), RECORDS, 20_000)
    session = pick_sessions(dt.date(2026, 1, 5), 1)[0]
    made = Simulation(world, 1, session, (), RECORDS)
    data = b"".join(chunk.tobytes() for chunk in made)
    found = [data[at : at + 56] for at in range(0, len(data), 56)]
    options = [one for one in made.chain if one.instrument_class in {"C", "P"}]
    for part in (1, 2, 3):
        other = [one._replace(symbol=f"{one.symbol}{part}") for one in options[part : 40 + part]]
        at_ns = int.from_bytes(found[part * RECORDS // 4][40:48], "little")
        found.insert(part * RECORDS // 4, encode_definitions(other, at_ns))
    return [encode_definitions(made.chain, session.open_ns), *found]


def planted() -> list[bytes]:
    """Return strong flow, which makes signals; a strike is named after its first window."""
    trades = [(0.0, definitions())]
    for at_s in (3_600, 5_400, 7_200, 9_000):
        trades += run(at_s + 0.5, 100, instrument_id=101, size=3)
        trades += run(at_s + 1.0, 100, instrument_id=102, side="A", size=3)
        trades += run(at_s + 1.7, 60, instrument_id=LATE, size=2)
    trades.append((6_500.0, definitions([UNLISTED], OPEN + 6_500 * SECOND)))
    trades.sort(key=lambda one: one[0])
    return [data for _, data in trades]


def write_record(folder: Path, stream: list[bytes], *, gap: bool = False) -> Path:
    """Write a record of three connections, each of which sends again what came before.

    With a `gap` the last sends nothing again: half of what it brings is a tape gap.
    """
    files, places = RecordFiles(folder), [0, len(stream) // 3, len(stream) * 2 // 3, len(stream)]
    for number in (1, 2, 3):
        sent, start_ns = stream[places[number - 1] : places[number]], None
        if number == 2 or (number == 3 and not gap):  # from a hundred records before
            start_ns = int.from_bytes(stream[places[number - 1] - 100][8:16], "little")
            sent = [one for one in stream[1 : places[number]] if time_of(one) >= start_ns]
        data = live_header() + b"".join(sent) + stream[places[number] % len(stream)][:20]
        begin: dict[str, Json] = {
            "start_ns": start_ns, "snapshot": start_ns is None, "skip_from_ns": start_ns,
        }  # fmt: skip
        files.append_entry(encode_entry(Entry(number, 0, EntryKind.CONNECTION_BEGIN, begin)))
        if number == 3 and gap:
            half = len(sent) // 2
            offset = len(live_header()) + sum(map(len, sent[:half]))
            ends: dict[str, Json] = {"start_ns": 0, "end_ns": time_of(sent[half])}
            files.append_entry(encode_entry(Entry(number, offset, EntryKind.GAP, ends)))
        for first in range(0, len(data), 50_000):
            files.append(number, data[first : first + 50_000])
            files.sync()
        end = Entry(number, len(data), EntryKind.CONNECTION_END, {"reason": "cut"})
        files.append_entry(encode_entry(end))
        files.sync()
    files.close()
    return folder


def time_of(record: bytes) -> int:
    """Return a record's ts_event, or that of the first of several."""
    return int.from_bytes(record[8:16], "little")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return a record with books, growth and retired instruments, and one with signals."""
    folders = [tmp_path_factory.mktemp("record") for _ in range(2)]
    return [write_record(folders[0], simulated()), write_record(folders[1], planted(), gap=True)]


def begin(folder: Path, *, ranked: bool) -> RecordPlayer:
    """Return a player of a record with an engine of its own."""
    history = StoreHistory(store(), settings().profile) if ranked else None
    engine = make_engine(settings(), history)
    return RecordPlayer(RecordReader(folder), engine, Collector(engine))


def drive(player: RecordPlayer, is_there: Callable[[RecordPlayer, int], bool]) -> bool:
    """Play until `is_there(player, steps)`; say whether it came to that."""
    return any(is_there(player, number) for number, _ in enumerate(player.follow()))


def finish(player: RecordPlayer, before: Collector | None = None) -> Found:
    """Play the rest, and return all that was found, by the player before as well."""
    for _ in player.play():
        player.drain.drain_when_full()
    observed_to_ns = player.engine.watermark_ns
    player.engine.flush()
    player.drain.drain(observed_to_ns)
    assert isinstance(player.drain, Collector)
    drains = [one for one in (before, player.drain) if one is not None]
    found = [
        pl.concat([part for one in drains for part in one._frames[name]])
        for name in ("windows", "signals", "handovers")
    ]
    return Found(found[0], found[1], found[2], player.feed.account(), player.drain.gaps_ns)


@pytest.fixture(scope="module")
def whole(records: list[Path]) -> list[Found]:
    """Return what each record gives, played in one go."""
    found = [finish(begin(one, ranked=number == 1)) for number, one in enumerate(records)]
    assert found[0].rows.height >= 1_000
    assert found[0].account["instruments"] > 600
    assert found[1].signals.height >= 10
    assert {"A", "F"} <= set(found[1].rows["quality"])
    return found


def check_cut(folder: Path, whole: Found, is_there: Any, *, ranked: bool) -> int:
    """Save a play where `is_there` says, go on in a fresh engine, compare; return where."""
    first = begin(folder, ranked=ranked)
    assert drive(first, is_there)
    place = first._offset
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    save_checkpoint(first, settings())
    second = begin(folder, ranked=ranked)
    path, refusals = restore_checkpoint(second, settings())
    assert path is not None, refusals
    assert second.engine.watermark_ns == first.engine.watermark_ns
    drain = first.drain
    assert isinstance(drain, Collector)
    found = finish(second, drain)
    assert found.rows.equals(whole.rows)
    assert found.signals.equals(whole.signals)
    assert found.handovers.equals(whole.handovers)
    assert found.account == whole.account
    assert found.gaps_ns == whole.gaps_ns
    return place


@pytest.mark.parametrize("seed", range(CUTS))
def test_a_play_goes_on_from_any_byte(
    records: list[Path], whole: list[Found], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Cut after a number of steps that is drawn: rows, signals, hand-overs and counts."""
    drawn = random.Random(seed)
    which = seed % 2
    monkeypatch.setattr("ifd_fast.record_reader.READ_BYTES", drawn.choice([PIECE_BYTES, 4_001]))
    total = sum(RecordReader(records[which]).ends.values())
    place = drawn.randrange(total // 4_001)
    check_cut(records[which], whole[which], lambda _, steps: steps >= place, ranked=which == 1)


def test_who_takes_no_hand_overs_is_not_made_to(records: list[Path]) -> None:
    """Saved by one that takes them, gone on with by one that doesn't: its log stays short."""
    first = begin(records[1], ranked=True)
    assert drive(first, lambda player, _: player.engine.state.score.cursor[HEAD] > 200)
    first.drain.drain()
    shutil.rmtree(records[1] / FOLDER, ignore_errors=True)
    save_checkpoint(first, settings())
    second = begin(records[1], ranked=True)
    second.engine.leave_handovers()
    path, refusals = restore_checkpoint(second, settings())
    assert path is not None, refusals
    assert first.engine.state.score.cursor[KEPT] == first.engine.state.score.cursor[HEAD]
    assert second.engine.state.score.cursor[KEPT] == NEVER
    for _ in second.play():
        pass
    assert not second.engine._handed_over


def in_header(player: RecordPlayer, _: int) -> bool:
    """Find some bytes of the second connection's."""
    return player._connection == 2 and player.feed._framer is None and player._offset > 0


def in_gap(player: RecordPlayer, _: int) -> bool:
    """Find the tape's gap open, some way in."""
    return player.feed.gap_start_ns >= 0 and player._offset > 5_000


def behind_gap(player: RecordPlayer, _: int) -> bool:
    """Find the gap closed, and windows it touches open."""
    return player.feed.gap_start_ns < 0 and bool(player.drain.gaps_ns)


def in_record(player: RecordPlayer, _: int) -> bool:
    """Find a record that waits for its rest."""
    framer = player.feed._framer
    return player._connection == 1 and framer is not None and framer._carried > 0


def in_filter(player: RecordPlayer, _: int) -> bool:
    """Find some duplicates dropped, others to come, and one there in part."""
    kept = player.feed._filter
    if kept is None or kept._tallies[LEFT] == 0 or not len(kept._carry):
        return False
    return bool(kept._delivered.used.sum() > 10)


def in_growth(player: RecordPlayer, _: int) -> bool:
    """Find entries on their way from one order table to the next."""
    return bool(player.engine.state.book.counters[book_state.MOVED] >= 0)


def with_next_table(player: RecordPlayer, _: int) -> bool:
    """Find the next order table ready."""
    return bool(player.engine.state.book.counters[book_state.TOUCHED] >= 0)


def with_vacant_slots(player: RecordPlayer, _: int) -> bool:
    """Find slots of retired instruments free to be used again."""
    return len(player.engine.instruments._vacant) > 3


PLACES = [
    (0, in_header), (0, in_record), (0, in_filter), (0, in_growth), (0, with_next_table),
    (0, with_vacant_slots), (1, in_gap), (1, behind_gap),
]  # fmt: skip


@pytest.mark.parametrize(("which", "is_there"), PLACES)
def test_a_play_goes_on_from_awkward_places(
    records: list[Path],
    whole: list[Found],
    monkeypatch: pytest.MonkeyPatch,
    which: int,
    is_there: Any,
) -> None:
    """Inside a header, a record, a replay, a gap, with a growth under way or vacant slots."""
    monkeypatch.setattr("ifd_fast.record_reader.READ_BYTES", 97)
    check_cut(records[which], whole[which], is_there, ranked=which == 1)


def changed(path: Path, **values: Any) -> None:
    """Write a checkpoint again with another head."""
    head, arrays = read_state(path)
    write_state(path, {**head, **values}, arrays)


def test_what_does_not_fit_is_refused_by_name(records: list[Path], tmp_path: Path) -> None:
    """Torn, changed, of other settings or another record: the one before, else the whole record."""
    folder = tmp_path / "record"
    shutil.copytree(records[1], folder, ignore=shutil.ignore_patterns(FOLDER))
    player = begin(folder, ranked=False)
    drive(player, lambda _, steps: steps >= 0)
    kept = [save_checkpoint(player, settings()) for _ in range(3)]
    assert not kept[0].exists()
    good = kept[2].read_bytes()

    def tried() -> tuple[Path | None, list[str]]:
        return restore_checkpoint(begin(folder, ranked=False), settings())

    assert tried() == (kept[2], [])
    for data, reason in [
        (good[:-100], "torn"), (good[:40], "torn"), (b"", "version"),
        (good[:3000] + bytes([good[3000] ^ 1]) + good[3001:], "torn"),
        (good[:-500] + bytes([good[-500] ^ 1]) + good[-499:], "torn"),
    ]:  # fmt: skip
        kept[2].write_bytes(data)
        path, refusals = tried()
        assert path == kept[1]
        assert len(refusals) == 1
        assert str(kept[2]) in refusals[0]
        assert reason in refusals[0]
    kept[1].unlink()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"config_digest": "other"}, "config_digest"), ({"code_digest": "other"}, "code_digest"),
        ({"version": 0}, "version"), ({"groups": 9_999}, "cut since"), ({"proof": 1}, "another"),
    ]  # fmt: skip
    for values, reason in wrong:
        kept[2].write_bytes(good)
        changed(kept[2], **values)
        path, refusals = tried()
        assert path is None
        assert reason in refusals[0]
    kept[2].write_bytes(good)
    path, refusals = restore_checkpoint(begin(folder, ranked=True), settings())
    assert path is None
    assert "baselines" in refusals[0]


@pytest.mark.border
def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    """Of any dtype and shape, none included; a name that is no dtype is not run."""
    dtype = np.dtype([("one", "<i8"), ("two", "i1", (3,))])
    arrays: dict[str, Any] = {
        "rows": np.arange(44, dtype=np.uint8).view(dtype),
        "grid": np.arange(6, dtype=np.int32).reshape(2, 3)[:, ::2],
        "none": np.zeros((0, 4)),
    }
    write_state(tmp_path / "one.state", {"says": [1, "two", None]}, arrays)
    head, found = read_state(tmp_path / "one.state")
    assert head == {"says": [1, "two", None]}
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    assert not list(tmp_path.glob("*.tmp"))
    with pytest.raises(DataError, match="no checkpoint"):
        read_state(connection_file(write_record(tmp_path / "record", planted()), 1))
