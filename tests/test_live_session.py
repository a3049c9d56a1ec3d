"""A session cut and resumed gives the rows of the clean file, and its record gives them again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

import databento_dbn as dbn
import numpy as np
import polars as pl
import pytest

from ifd_fast.collecting import Collector, ReplayResult
from ifd_fast.config import Settings, load_settings
from ifd_fast.credentials import Secret
from ifd_fast.errors import CredentialError, RequestError
from ifd_fast.live_feed import LiveFeed
from ifd_fast.live_protocol import Terms
from ifd_fast.live_session import LiveSession
from ifd_fast.live_settings import LiveSettings
from ifd_fast.live_states import State
from ifd_fast.replaying import make_engine, replay
from ifd_fast.session_record import EntryKind, MemoryRecord
from tests.historical_server import KEY
from tests.live_server import Script, Told, serving
from tests.strategies_interface import OPEN, SECOND, SMALL, event, head, market
from tests.strategies_wire import mbo

WAIT_NS = 100_000_000  # what a poll takes while there is no connection, by the tests' clock


class TestClock:
    """Clocks that stand still until the test moves them."""

    __test__ = False

    def __init__(self, wall_ns: int = 0) -> None:
        """Set the wall clock, which goes on with the other one."""
        self.now_ns = SECOND
        self.offset_ns = wall_ns - self.now_ns

    def wall_ns(self) -> int:
        """Return the time, ns UTC."""
        return self.offset_ns + self.now_ns

    def monotonic_ns(self) -> int:
        """Return ns since some start."""
        return self.now_ns


def live_header() -> bytes:
    """Return the header of a live stream: no schema, no symbols."""
    metadata = dbn.Metadata(
        dataset="GLBX.MDP3",
        start=OPEN,
        stype_in=None,
        stype_out=dbn.SType.from_str("instrument_id"),
        schema=None,
        version=3,
    )
    return bytes(metadata)


def message(rtype: int, code: int, text: str, ts_event_ns: int = 0) -> bytes:
    """Return a system message or an error."""
    body = bytearray(320)
    body[:2] = bytes([80, rtype])
    body[8:16] = ts_event_ns.to_bytes(8, "little")
    body[16 : 16 + len(text)] = text.encode()
    body[319 if rtype == 0x17 else 318] = code
    return bytes(body)


@cache
def records() -> list[bytes]:
    """Return the records of the small market, definitions first."""
    data, found = market()[len(head()) :], []
    while data:
        size = data[0] * 4
        found.append(data[:size])
        data = data[size:]
    return found


def since(stream: Sequence[bytes], start_ns: int) -> list[bytes]:
    """Return what a gateway replays from a time on, by ts_event."""
    return [one for one in stream if int.from_bytes(one[8:16], "little") >= start_ns]


def resumed(cuts: Sequence[int], ends: Sequence[str], stream: Sequence[bytes] = ()) -> Any:
    """Return a play that cuts each connection so many bytes behind its replay."""
    stream = stream or records()
    whole = sum(map(len, stream))

    def play(number: int, told: Told) -> Script:
        asked = told.of("mbo").get("start")
        begin = live_header()
        if asked is None:
            body = b"".join(stream)
            begin += message(0x17, 3, "Finished definition replay")
            begin += message(0x17, 3, "Finished statistics replay")
        else:
            body = b"".join(since(stream, int(asked)))
        cut = cuts[number - 1] if number <= len(cuts) else whole
        behind = whole - len(body)  # what this connection doesn't send again
        sent = body[: max(cut - behind, 0)]
        end = ends[number - 1] if number <= len(cuts) else "hold"
        last = (
            b""
            if number <= len(cuts)
            else b"".join(
                message(0x17, 3, f"Finished {schema} replay")
                for schema in ("definition", "statistics", "status", "mbo")
            )
        )
        return Script([begin, sent, last], end)

    return play


def send(data: bytes, _number: int, _told: Told) -> Script:
    """Play one piece, and hold the line."""
    return Script([data], "hold")


@cache
def settings() -> Settings:
    """Return settings with everything at its smallest."""
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(SMALL)
        file.flush()
        return load_settings(file.name)


class Run:
    """One session over a record in memory, driven to where a test wants it."""

    def __init__(
        self, address: tuple[str, int], wall_ns: int = 0, key: Secret | None = None
    ) -> None:
        """Make a session that is connected to nothing yet."""
        self.engine = make_engine(settings(), None)
        self.drain = Collector(self.engine)
        self.record = MemoryRecord()
        self.clock = TestClock(wall_ns)
        self.session = LiveSession(
            self.engine,
            self.drain,
            self.record,
            LiveSettings(address, ("NQ.OPT", "NQ.FUT"), Terms("GLBX.MDP3")),
            key or Secret(KEY),
            self.clock,
        )

    def until(self, done: Callable[[], bool], idle_ns: int = 0, limit_s: float = 5.0) -> None:
        """Poll until `done()`, or fail; a poll without bytes takes `idle_ns` of the clock."""
        until_s = time.monotonic() + limit_s
        while not done():
            assert time.monotonic() < until_s, (self.session.state, self.session.notes)
            lost = self.session.counts["connections"] == self.session.counts["connections_lost"]
            if not self.session.poll(0.002):
                self.clock.now_ns += WAIT_NS if lost else idle_ns

    def finish(self) -> ReplayResult:
        """Stop, and return what was found."""
        observed_to_ns = self.engine.watermark_ns
        self.session.stop()
        return self.drain.finish(settings(), [], self.session.account(), observed_to_ns)


def replayed(record: MemoryRecord, chunk_bytes: int) -> ReplayResult:
    """Return what a record gives, its entries applied at their offsets."""
    engine = make_engine(settings(), None)
    drain = Collector(engine)
    feed = LiveFeed(engine, drain, record.recorded)
    connection, offset, data = 0, 0, np.zeros(0, np.uint8)
    for entry in record.entries:
        while entry.connection == connection and offset < entry.offset:
            step = min(chunk_bytes, entry.offset - offset)
            feed.feed(data[offset : offset + step].copy())
            offset += step
        if entry.kind is EntryKind.CONNECTION_BEGIN:
            connection, offset = entry.connection, 0
            parts = list(record.recorded(connection))
            data = np.concatenate(parts) if parts else data[:0]
            skip_from_ns = entry.payload["skip_from_ns"]
            assert skip_from_ns is None or isinstance(skip_from_ns, int)
            feed.begin(
                connection, snapshot=bool(entry.payload["snapshot"]), skip_from_ns=skip_from_ns
            )
        elif entry.kind is EntryKind.TICK:
            engine.tick(int(str(entry.payload["ts_ns"])))
        elif entry.kind is EntryKind.GAP:
            feed.close_gap(int(str(entry.payload["end_ns"])))
    feed.end()
    observed_to_ns = engine.watermark_ns
    engine.flush()
    drain.drain(observed_to_ns)
    return drain.finish(settings(), [], feed.account(), observed_to_ns)


def same(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Say whether two frames hold the same rows."""
    return one.height > 0 and one.equals(other)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> ReplayResult:
    """Return what the replay of the clean file gives."""
    folder = tmp_path_factory.mktemp("clean")
    (folder / "small.toml").write_text(SMALL)
    (folder / "clean.dbn").write_bytes(live_header() + b"".join(records()))
    return replay(folder / "clean.dbn", profile=folder / "small.toml")


@pytest.mark.jit
@pytest.mark.parametrize(
    ("cuts", "ends"),
    [
        ([40_001], ["eof"]),
        ([12_345, 31_003], ["reset", "eof"]),
        ([20_020, 20_020, 44_444], ["eof", "eof", "reset"]),
    ],
)
def test_a_session_cut_and_resumed_is_the_clean_file(
    clean: ReplayResult, cuts: list[int], ends: list[str]
) -> None:
    """Cut inside records, by an end or a reset: rows equal, none lost or doubled, nor graded."""
    with serving(resumed(cuts, ends)) as gateway:
        run = Run(gateway.address)
        run.until(
            lambda: (
                run.session.counts["connections"] == len(cuts) + 1
                and run.session.state is State.LIVE
            )
        )
        result = run.finish()
    assert run.session.counts["connections"] == len(cuts) + 1
    assert run.session.duplicates["duplicates"] > 0
    assert run.session.duplicates["changed_duplicates"] == 0
    assert same(result.windows, clean.windows)
    assert result.rows_digest == clean.rows_digest
    assert replayed(run.record, 1_000).rows_digest == clean.rows_digest


@pytest.mark.jit
def test_heartbeats_tick_and_the_record_says_so() -> None:
    """With one, event time passes to 2 s before it, not past the clock; the record ticks alike."""
    stream = b"".join([*records()[:9], event(3_600.5)])
    begin = live_header() + b"".join(
        [message(0x17, 3, "Finished definition replay"), message(0x17, 3, "Finished statistics")]
    )
    beats = [
        message(0x17, 0, "Heartbeat", OPEN + at_s * SECOND) for at_s in (3_606, 3_611, 3_700_000)
    ]
    go = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield begin + stream
        go.wait(5)
        yield b"".join(beats)

    with serving(lambda _number, _told: Script(pieces(), "hold")) as gateway:
        run = Run(gateway.address, wall_ns=OPEN + 3_601 * SECOND)
        sent = len(begin) + len(stream)
        run.until(lambda: run.session.counts["bytes"] == sent)
        run.clock.now_ns += 12 * SECOND
        go.set()
        run.until(lambda: run.session.counts["bytes"] == sent + sum(map(len, beats)))
        watermark_ns = run.engine.watermark_ns
        result = run.finish()
    # 2 s before the clock, not before the last heartbeat, which comes from afar
    assert OPEN + 3_611 * SECOND <= watermark_ns < OPEN + 3_612 * SECOND
    assert run.session.counts["ticks"] > 0
    again = replayed(run.record, 77)
    assert again.windows.equals(result.windows)
    assert run.session.state is State.DOWN


@pytest.mark.jit
def test_silence_moves_no_time_and_is_no_lag() -> None:
    """Without a heartbeat nothing is proven; one that comes late says nothing of older records."""
    begin = live_header() + message(0x17, 3, "Finished") * 2
    stream = b"".join([*records()[:9], event(3_600.5)])
    wall_ns = OPEN + 3_601 * SECOND
    with serving(lambda _number, _told: Script([begin, stream], "hold")) as gateway:
        run = Run(gateway.address, wall_ns=wall_ns)
        run.until(lambda: run.session.counts["bytes"] == len(begin) + len(stream))
        assert run.session.state is State.LIVE
        watermark_ns, until_ns = run.engine.watermark_ns, run.clock.now_ns + 5 * SECOND
        run.until(lambda: run.clock.now_ns > until_ns, idle_ns=WAIT_NS)
        assert run.engine.watermark_ns == watermark_ns
        lag_ns = run.session.timing.lag_ns
        run.session._take(0, run.clock.now_ns)  # as a heartbeat would
        assert run.session.timing.lag_ns == lag_ns
        run.session.stop()


def test_a_silent_gateway_is_stale_then_left() -> None:
    """Without a heartbeat the session is stale, withholds alerts, and connects again."""
    begin = live_header() + message(0x17, 3, "Finished") * 2
    with serving(partial(send, begin)) as gateway:
        run = Run(gateway.address)
        run.until(lambda: run.session.state is State.LIVE)
        run.until(lambda: run.session.state is State.STALE, idle_ns=WAIT_NS)
        assert not run.session.may_alert
        run.until(lambda: run.session.state is State.RECOVERING, idle_ns=WAIT_NS)
        assert "connection lost: silent" in run.session.notes
        run.session.stop()


@pytest.mark.jit
def test_an_aged_out_replay_becomes_a_snapshot_with_a_gap() -> None:
    """Refused to replay, the session joins by a snapshot; windows over the gap are grade F."""
    stream = records()

    def play(number: int, told: Told) -> Script:
        if number == 1:
            done = message(0x17, 3, "Finished") * 2
            return Script([live_header() + done + b"".join(stream[:150])], "eof")
        if told.of("mbo").get("start"):
            return Script([live_header() + message(0x15, 8, "Replay data aged out")], "eof")
        done = message(0x17, 3, "Finished") * 2
        reset = mbo(action="R", side="N", order_id=0, size=0, flags=40, instrument_id=101)
        return Script([live_header() + done + reset + b"".join(stream[200:])], "hold")

    with serving(play) as gateway:
        run = Run(gateway.address)
        run.until(lambda: run.session.counts["connections"] == 3)
        run.until(lambda: run.engine.watermark_ns >= OPEN + 5_400 * SECOND)
        result = run.finish()
        assert gateway.told[2].of("mbo")["snapshot"] == "1"
    gaps = [one for one in run.record.entries if one.kind is EntryKind.GAP]
    assert len(gaps) == 1
    assert "F" in set(result.windows["quality"])
    again = replayed(run.record, 500)
    assert again.windows.equals(result.windows)


def test_a_refusal_ends_the_session() -> None:
    """A deactivated key or a bad subscription is no reason to come back."""
    for code, error in ((2, CredentialError), (5, RequestError)):
        said = live_header() + message(0x15, code, "no more")
        with serving(partial(send, said)) as gateway:
            run = Run(gateway.address)
            with pytest.raises(error, match="no more"):
                run.until(lambda: False)
            assert run.session.state is State.DOWN


def test_no_room_is_lagging_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room the socket isn't read; with room again, every byte comes."""
    begin = live_header() + message(0x17, 3, "Finished") * 2
    with serving(lambda _number, _told: Script([begin, records()[0]], "hold")) as gateway:
        run = Run(gateway.address)
        run.until(lambda: run.session.state is State.LIVE)
        with monkeypatch.context() as patch:
            patch.setattr(run.record, "space", lambda: memoryview(b""))
            assert not run.session.poll()
            assert run.session.state.value == "lagging"
        run.until(lambda: run.session.counts["bytes"] == len(begin) + len(records()[0]))
        assert run.session.state is State.LIVE
        run.session.stop()


def test_messages_are_read_as_the_library_reads_them() -> None:
    """Codes and texts of system messages and errors stand where databento_dbn puts them."""
    from ifd_fast.live_messages import Message, decode_message

    system = bytes(dbn.SystemMsg(1, "Finished mbo replay", code=dbn.SystemCode.from_int(3)))
    error = bytes(dbn.ErrorMsg(1, "aged out", is_last=True, code=dbn.ErrorCode.from_int(8)))
    assert decode_message(system[:320], 3) == Message(
        is_error=False, code=3, text="Finished mbo replay", ts_event_ns=1
    )
    assert decode_message(error[:320], 3) == Message(
        is_error=True, code=8, text="aged out", ts_event_ns=1
    )
    assert decode_message(error[:320], 3).is_fatal
    assert not decode_message(message(0x15, 4, "NQX.OPT unknown"), 3).is_fatal
    assert decode_message(b"\x14\x17" + bytes(14) + b"Heartbeat".ljust(64, b"\0"), 1).code == 0
