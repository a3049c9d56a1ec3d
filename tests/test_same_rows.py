"""One market, one digest: however its bytes are cut, packed or handed over.

Method: a session of 14 options with planted flow, scored against five sessions of history: over
1,000 window rows and over 10 signals. Its bytes go through the engine in random pieces, a byte
each, compressed, in several files, through `feed` and through callbacks. CI cuts 20 times and
feeds a stretch byte by byte; with IFD_WHOLE=1 (`./dev digests`) it is 200 times, and all bytes.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
import zstandard

from ifd_fast import IFDv3Engine, MBOStreamingClient, connect_mbo_to_ifd, replay
from ifd_fast.baselines import add_folders, rebuild
from ifd_fast.collecting import Collector, ReplayResult
from ifd_fast.config import load_settings
from ifd_fast.histories import StoreHistory
from ifd_fast.metrics import PressureMetrics, iterate_metrics
from ifd_fast.replaying import Player, make_engine
from ifd_fast.signals import InstitutionalSignalV3, iterate_signals
from ifd_fast.simulated_files import parse_plant, pick_sessions, write_session
from ifd_fast.streams import open_stream
from ifd_fast.world import load_world
from tests.test_end_to_end import FIRST_DATE, PLANTED, WORLD, split_header

WHOLE = os.environ.get("IFD_WHOLE", "0") not in {"", "0"}
CUTTINGS = 200 if WHOLE else 20
STRETCH_BYTES = 6_000  # of CI's byte by byte, over a record's end over a hundred times
SESSIONS = 6
PROFILE = "ifd_v3_testing"
RECORD = 56

pytestmark = [pytest.mark.jit, pytest.mark.slow]


class Market(NamedTuple):
    """A session's files, the store of those before it, and what a plain replay finds."""

    data: Path
    definitions: Path
    history: StoreHistory  # loaded once: what it estimates is no part of what is tested here
    result: ReplayResult | None

    @property
    def mixed(self) -> Path:
        """Where the session lies as one stream with its definitions, once written."""
        return self.data.with_name("mixed.dbn")

    @property
    def expected(self) -> ReplayResult:
        """What a replay of the whole file finds."""
        assert self.result is not None
        return self.result

    @property
    def records(self) -> bytes:
        """The session's bytes behind the header."""
        return bytes(split_header(self.data)[1])


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    """Return a session with planted flow behind five without."""
    folder = tmp_path_factory.mktemp("market")
    (folder / "world.toml").write_text(WORLD)
    world = load_world(folder / "world.toml")
    plants = [
        parse_plant(f"{name}:{side}:{start}:900:240:80")
        for start in (57_600, 63_000)
        for name, side in PLANTED.items()
    ]
    days = pick_sessions(FIRST_DATE, SESSIONS)
    for day in days:
        planted = plants if day is days[-1] else []
        write_session(world, 1, day, folder, compress=False, plants=planted)
    files, definitions = sorted(folder.glob("*.mbo.dbn")), sorted(folder.glob("*.definition.dbn*"))
    out, store = folder / "history", folder / "baselines.duckdb"
    replay(files[:-1], definitions=definitions[:-1], out=out)
    add_folders(store, [out])
    rebuild(store)
    settings = load_settings(PROFILE)
    history = StoreHistory(store, settings.profile)
    market = Market(files[-1], definitions[-1], history, None)
    return market._replace(result=play(market, [files[-1]]))


def digests(result: ReplayResult) -> tuple[str | None, str | None, str]:
    """Return the digests of rows and facts, and one of all signals, each float to its last bit."""
    signals = hashlib.sha256(result.signals.write_ndjson().encode()).hexdigest()
    return result.rows_digest, result.facts_digest, signals


def play(
    market: Market, files: Sequence[Path], pieces: Iterable[bytes] | None = None
) -> ReplayResult:
    """Replay the session from files, the first one's bytes behind the header in given pieces."""
    settings = load_settings(PROFILE)
    engine = make_engine(settings, market.history)
    sources = open_stream(files, [market.definitions] if files[0] != market.mixed else [])

    def take_pieces() -> Iterator[Any]:
        return iter(pieces or ())

    try:
        for source in sources:
            if pieces is not None and source.name == str(files[0]):
                source.chunks = take_pieces  # type: ignore[method-assign]  # this one source
        return Player(engine, Collector(engine)).run(sources, settings)
    finally:
        for source in sources:
            source.close()


def cut(data: bytes, seed: int) -> list[bytes]:
    """Return `data` in random pieces: few or thousands, of like or of wild sizes."""
    draw = random.Random(seed)
    count = draw.choice([1, 2, 7, 50, 400, 3_000])
    edges = sorted(draw.randrange(len(data) + 1) for _ in range(count))
    if seed % 3 == 0:  # around the ends of records
        edges = [
            min(edge // RECORD * RECORD + draw.choice([-1, 0, 1]), len(data)) for edge in edges
        ]
    edges = sorted({0, len(data), *(max(edge, 0) for edge in edges)})
    return [data[start:stop] for start, stop in pairwise(edges)]


def test_there_is_enough_to_tell(market: Market) -> None:
    """The market has the rows and signals that a digest test needs, alerts among them."""
    assert market.expected.windows.height >= 1_000
    assert market.expected.signals.height >= 10
    assert market.expected.signals["alert"].any()


def test_random_cuttings_have_one_digest(market: Market) -> None:
    """Rows, facts and signals are the same to the last bit for all cuttings."""
    found = {
        digests(play(market, [market.data], cut(market.records, seed))) for seed in range(CUTTINGS)
    }
    assert found == {digests(market.expected)}


def test_byte_by_byte_has_that_digest(market: Market) -> None:
    """A byte at a time changes nothing: over a stretch with an alert, or from end to end."""
    data = market.records
    first = 0 if WHOLE else find_signals_byte(market) - STRETCH_BYTES // 2
    last = len(data) if WHOLE else first + STRETCH_BYTES
    pieces = (
        *([data[:first]] if first else []),
        *(data[at : at + 1] for at in range(first, last)),
        *([data[last:]] if last < len(data) else []),
    )
    assert digests(play(market, [market.data], pieces)) == digests(market.expected)


def find_signals_byte(market: Market) -> int:
    """Return where the first record stands that is later than the first alert."""
    data, alerts = market.records, market.expected.signals.filter("alert")
    alert_ns = int(alerts["timestamp"].cast(pl.Int64)[0])
    times = (int.from_bytes(data[at + 8 : at + 16], "little") for at in range(0, len(data), RECORD))
    return next(at for at, time_ns in enumerate(times) if alert_ns < time_ns < 2**63) * RECORD


def test_compressed_is_the_same(market: Market, tmp_path: Path) -> None:
    """`.dbn.zst`, in one frame and in frames that end inside records, is the `.dbn`."""
    whole, packer = market.data.read_bytes(), zstandard.ZstdCompressor(write_checksum=True)
    third = len(whole) // 3
    frames = {"one": [whole], "three": [whole[:third], whole[third:-third], whole[-third:]]}
    for name, parts in frames.items():
        path = tmp_path / f"{name}.dbn.zst"
        path.write_bytes(b"".join(packer.compress(part) for part in parts))
        found = play(market, [path])
        assert digests(found) == digests(market.expected)


def received(records: bytes | bytearray, at: int) -> int:
    """Return when the record at byte `at` was received, ns."""
    return int.from_bytes(records[at + 40 : at + 48], "little")


def between(header: bytes, start_ns: int, end_ns: int) -> bytes:
    """Return a header that says its file covers [start, end)."""
    return header[:26] + start_ns.to_bytes(8, "little") + end_ns.to_bytes(8, "little") + header[42:]


def test_several_files_are_the_same(market: Market, tmp_path: Path) -> None:
    """Cut into three files, named in any order, one of them compressed: one stream, one digest."""
    header, records = split_header(market.data)
    thirds = [len(records) // RECORD * part // 3 * RECORD for part in range(4)]
    begun, ended = (int.from_bytes(header[at : at + 8], "little") for at in (26, 34))
    times = [begun, *(received(records, at) for at in thirds[1:3]), ended]
    files = []
    for place, (first, last) in enumerate(pairwise(thirds)):
        data = between(header, *times[place : place + 2]) + records[first:last]
        path = tmp_path / f"{9 - place}.dbn{'.zst' if place == 1 else ''}"
        path.write_bytes(zstandard.ZstdCompressor().compress(data) if place == 1 else data)
        files.append(path)
    for named in (files, files[::-1]):
        found = play(market, named)
        assert digests(found) == digests(market.expected)


def mix(market: Market) -> bytes:
    """Return the session as one stream: header, definitions, market data."""
    header, records = split_header(market.data)
    return header + bytes(split_header(market.definitions)[1]) + bytes(records)


def shown(found: Iterable[object]) -> list[str]:
    """Return records as text, each float to its last bit: two NaN are the same."""
    return [repr(one) for one in found]


def test_feed_and_callbacks_give_what_replay_finds(market: Market) -> None:
    """Windows and rolling signals through callbacks are the replay's; so is what `feed` judges.

    But for the windows still open when the bytes end: a stream has no header to say that they
    were observed to their end.
    """
    data = mix(market)
    market.mixed.write_bytes(data)
    replayed = play(market, [market.mixed])
    assert digests(replayed) == digests(market.expected)

    history = market.history
    engine = IFDv3Engine(PROFILE, history)
    client = MBOStreamingClient(profile=PROFILE, history=history)
    windows: list[PressureMetrics] = []
    called: list[InstitutionalSignalV3] = []
    judged: list[InstitutionalSignalV3] = []
    connect_mbo_to_ifd(client, engine, judged.append)
    judge = client.on_pressure_metrics
    assert judge is not None

    def take(metrics: PressureMetrics) -> None:
        windows.append(metrics)
        judge(metrics)

    client.on_pressure_metrics = take
    client.on_signal = called.append
    rolling: list[InstitutionalSignalV3] = []
    feeding = IFDv3Engine(PROFILE, history)
    feeding.on_rolling_signal = rolling.append
    fed = []
    for piece in cut(data, 4):
        client.feed(piece)
        fed += feeding.feed(piece)
    closed = len(windows)
    assert closed > 1_000
    expected = list(iterate_metrics(replayed.windows))
    assert shown(windows) == shown(expected[:closed])
    assert shown(judged) == shown(fed)
    client.flush()
    fed += feeding.flush()
    assert shown(judged) == shown(fed)
    found = shown(iterate_signals(replayed.signals))
    assert shown(called) == found
    assert shown(rolling) == found
    assert [one.total_trades for one in windows] == [one.total_trades for one in expected]
