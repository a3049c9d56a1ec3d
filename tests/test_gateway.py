"""The gateway over real sockets: a raw client for each branch, the official client unmodified."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import databento
import numpy as np
import pytest

from ifd_fast.errors import UsageError
from ifd_fast.gateway import Gateway
from ifd_fast.gateway_market import TEST_KEY, Market
from ifd_fast.gateway_tape import load_tape
from tests.gateway_client import (
    DATASET,
    ERROR,
    MAPPING,
    ORDER,
    SYSTEM,
    WireClient,
    code_of,
    little_market,
    orders_of,
    play,
    records_of,
    refusal,
    unpacked,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ifd_fast.gateway_tape import Tape

pytestmark = pytest.mark.border

CANARY = "db-Canary0Canary0Canary0Canary0x"


def test_all_records_come_byte_for_byte() -> None:
    """Header, acknowledgement, mappings, then the tape's own bytes in its order."""
    tape = little_market()
    stream = play(tape)
    kinds = [one.rtype for one in records_of(stream)]
    assert kinds[:4] == [SYSTEM, MAPPING, MAPPING, MAPPING]
    assert set(kinds[4:]) == {ORDER}
    assert b"".join(one.data for one in records_of(stream)[4:]) == tape.parts[0].rows.tobytes()


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_the_official_client_gets_every_record(compression: str) -> None:
    """`databento.Live`, unmodified, by callback: all records and mappings, in order."""
    tape = little_market(5000)
    found: list[bytes] = []
    with Gateway(Market(tape)) as gateway:
        client = databento.Live(
            TEST_KEY, gateway="127.0.0.1", port=gateway.port,
            compression=databento.Compression.from_str(compression),
        )  # fmt: skip
        client.subscribe(DATASET, "mbo", ["NQ.FUT", "NQ.OPT"], stype_in="parent")
        client.add_callback(lambda record: found.append(bytes(record)))
        client.start()
        client.block_for_close(10)
    orders = [one[:56] for one in found if one[1] == ORDER]
    assert b"".join(orders) == tape.parts[0].rows.tobytes()
    assert sum(one[1] == MAPPING for one in found) == 3


def test_compressed_and_plain_streams_are_the_same() -> None:
    """What a compressed session holds is what a plain one is."""
    tape = little_market()
    assert unpacked(play(tape, compression="zstd")) == play(tape)


def test_ts_out_follows_each_record() -> None:
    """With ts_out a record is 8 bytes longer, says so, and ends with the market's time."""
    tape = little_market(100)
    stream = play(tape, ts_out=1)
    orders = [one.data for one in records_of(stream) if one.rtype == ORDER]
    assert {len(one) for one in orders} == {64}
    sent = np.array([int.from_bytes(one[56:], "little") for one in orders])
    assert (sent >= orders_of(stream)["ts_recv"].astype(np.int64)[0]).all()
    assert (np.diff(sent) >= 0).all()


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ({"stype_in": "parent", "symbols": "NQ.OPT"}, {2, 3}),
        ({"stype_in": "parent", "symbols": "NQ.OPT,NQ.FUT"}, {1, 2, 3}),
        ({"stype_in": "raw_symbol", "symbols": "NQH6 P21000"}, {3}),
        ({"stype_in": "instrument_id", "symbols": "1"}, {1}),
    ],
)
def test_a_subscription_brings_its_instruments_alone(
    asked: dict[str, object], ids: set[int]
) -> None:
    """By parent, raw symbol and id: those instruments' records, all of them, and no others."""
    tape = little_market()
    orders = orders_of(play(tape, asked))
    wanted = np.isin(tape.parts[0].instrument_id, list(ids))
    assert orders.tobytes() == tape.parts[0].rows[wanted].tobytes()


def test_a_long_list_of_symbols_comes_in_several_lines() -> None:
    """Lines that are not the last are one subscription with the one that is: one answer."""
    first = {"symbols": "NQH6", "is_last": 0, "id": 7}
    second = {"symbols": "NQH6 C21000", "is_last": 1, "id": 7}
    records = records_of(play(little_market(50), first, second))
    assert [one.rtype for one in records[:4]] == [SYSTEM, MAPPING, MAPPING, ORDER]


def test_unknown_symbols_are_told_one_by_one() -> None:
    """Each is an error record that ends nothing; the others stream."""
    records = records_of(play(little_market(50), {"symbols": "NQH6,ESH6,YMH6"}))
    errors = [one.data for one in records if one.rtype == ERROR]
    assert [code_of(one, ERROR) for one in errors] == [4, 4]
    assert b"ESH6" in errors[0]
    assert records[-1].rtype == ORDER


@pytest.mark.parametrize(
    "asked",
    [{"schema": "mbp-1"}, {"stype_in": "smart"}, {"symbols": ""}, {"start": 1, "snapshot": 1},
     {"start": "soon"}, {"schema": "status", "snapshot": 1}],
)  # fmt: skip
def test_a_bad_subscription_ends_the_session(asked: dict[str, object]) -> None:
    """It is told by an error record, and nothing streams."""
    records = records_of(play(little_market(50), asked))
    assert [code_of(one.data, ERROR) for one in records if one.rtype == ERROR] == [5]
    assert ORDER not in {one.rtype for one in records}


def test_replay_is_inclusive_and_goes_over_into_live() -> None:
    """A session that asks for the past gets all from its start on, once, however far it has run."""
    tape = little_market()
    part = tape.parts[0]
    with Gateway(Market(tape, ends=False)) as gateway:
        with WireClient(gateway.port) as client:  # runs the market to its end
            client.start({})
            seen = 0
            while seen < part.rows.size:
                seen += len(client.socket.recv(1 << 16))
        start_ns = int(part.ts_event[700])
        with WireClient(gateway.port) as late, WireClient(gateway.port) as later:
            late.start({"start": start_ns})
            wanted = part.rows[part.ts_event >= np.uint64(start_ns)].tobytes()
            stream = b""
            while b"Finished mbo replay" not in stream:
                stream += late.socket.recv(1 << 16)
            assert orders_of(stream).tobytes() == wanted
            later.start({"start": 0})
            stream = b""
            while b"Finished mbo replay" not in stream:
                stream += later.socket.recv(1 << 16)
            assert orders_of(stream).tobytes() == part.rows.tobytes()


def test_each_subscription_has_its_own_start() -> None:
    """Of one schema, a future early and an option late, in either order; none for a third."""
    tape = little_market()
    part = tape.parts[0]
    early, late = int(part.ts_event[200]), int(part.ts_event[1500])
    future = {"symbols": "NQH6", "start": early}
    option = {"symbols": "NQH6 C21000", "start": late}
    other = {"symbols": "NQH6 P21000"}
    wanted = (part.instrument_id == 1) & (part.ts_event >= np.uint64(early))
    wanted |= (part.instrument_id == 2) & (part.ts_event >= np.uint64(late))
    with Gateway(Market(tape, ends=False)) as gateway:
        with WireClient(gateway.port) as client:  # runs the market to its end
            client.start({})
            seen = 0
            while seen < part.rows.size:
                seen += len(client.socket.recv(1 << 16))
        for asked in ((future, option, other), (option, other, future)):
            with WireClient(gateway.port) as client:
                client.start(*asked)
                stream = b""
                while b"Finished mbo replay" not in stream:
                    stream += client.socket.recv(1 << 16)
            assert orders_of(stream).tobytes() == part.rows[wanted].tobytes()


def test_a_client_can_subscribe_while_records_flow() -> None:
    """What is subscribed later comes from then on."""
    tape = little_market(300)
    with Gateway(Market(tape, ends=False)) as gateway, WireClient(gateway.port) as client:
        client.say(start_session=0)
        head = b""
        while len(head) < 64:
            head += client.socket.recv(1 << 16)
        client.start({"start": 0})
        stream = head
        while b"Finished mbo replay" not in stream:
            stream += client.socket.recv(1 << 16)
        assert len(orders_of(stream)) == 300


def test_heartbeats_when_nothing_is_sent() -> None:
    """An open session at the end of the market hears from the gateway each interval."""
    market = Market(little_market(10), ends=False, heartbeat_min_s=0)
    with Gateway(market) as gateway, WireClient(gateway.port, heartbeat_interval_s=0) as client:
        client.start({})
        stream = b""
        while stream.count(b"Heartbeat") < 2:
            stream += client.socket.recv(1 << 16)
    assert {one.rtype for one in records_of(stream)[-2:]} == {SYSTEM}


def test_the_market_runs_by_the_clock_at_a_speed() -> None:
    """At a factor nothing is sent before its time; a second session joins where the market is."""
    tape = little_market(400, seed=3)
    part = tape.parts[0]
    lasts_s = float(part.ts_recv[-1] - part.ts_recv[0]) / 1e9
    began = time.monotonic()
    market = Market(tape, speed=lasts_s / 0.4)
    with (
        Gateway(market) as gateway,
        WireClient(gateway.port) as first,
        WireClient(gateway.port) as second,
    ):
        first.start({})
        time.sleep(0.2)
        second.start({})
        whole, half = orders_of(first.rest()), orders_of(second.rest())
    assert time.monotonic() - began >= 0.4
    assert whole.tobytes() == part.rows.tobytes()
    assert 0 < len(half) < 400
    assert half.tobytes() == part.rows[-len(half) :].tobytes()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"key": CANARY}, "authentication failed"),
        ({"dataset": "XNAS.ITCH"}, "not served"),
        ({"encoding": "csv"}, "encoding"),
        ({"compression": "lz4"}, "compression"),
        ({"heartbeat_interval_s": 1}, "heartbeat_interval_s"),
    ],
)
def test_who_is_not_let_in(fields: dict[str, str], says: str) -> None:
    """The refusal says why; the key, a canary, is in nothing that is logged."""
    log: list[str] = []
    market = Market(little_market(10), log=lambda what, about: log.append(f"{what} {about}"))
    with Gateway(market) as gateway:
        assert says in refusal(gateway, **fields)
    assert "refused" in "".join(log)
    assert "Canary" not in "".join(log)


def test_too_many_sessions_are_refused() -> None:
    """The one above the limit is not let in; once another has left, it is."""
    with Gateway(Market(little_market(10), ends=False, most_sessions=1)) as gateway:
        with WireClient(gateway.port):
            assert "connection limit" in refusal(gateway)
        for _ in range(100):
            if gateway.market.session_count == 0:
                break
            time.sleep(0.01)
        with WireClient(gateway.port):
            assert gateway.market.session_count == 1


def test_other_machines_are_let_in_only_when_asked_for() -> None:
    """An address that can be reached from elsewhere needs a word more; a taken port is told."""
    market = Market(little_market(10))
    with pytest.raises(UsageError, match="open-to-all"):
        Gateway(market, host="0.0.0.0")  # noqa: S104
    Gateway(market, host="0.0.0.0", open_to_all=True)  # noqa: S104
    with Gateway(market) as gateway, pytest.raises(UsageError, match="--port"):
        Gateway(market, port=gateway.port).__enter__()
    with pytest.raises(UsageError, match="speed"):
        Market(little_market(10), speed=0.0)


def test_a_client_that_does_not_read_is_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose socket took no byte for long hears so once it reads; nothing was left out."""
    monkeypatch.setattr("ifd_fast.gateway_session.SLOW_S", 0.05)
    told: list[str] = []
    market = Market(little_market(200_000), log=lambda what, _: told.append(what))
    with Gateway(market) as gateway, WireClient(gateway.port) as client:
        client.start({})
        time.sleep(0.3)
        records = records_of(client.rest())
    codes = [code_of(one.data, SYSTEM) for one in records if one.rtype == SYSTEM]
    assert 2 in codes
    assert "slow reader" in told
    assert sum(one.rtype == ORDER for one in records) == 200_000


def test_closing_does_not_wait_for_a_client_that_does_not_read() -> None:
    """A session that is stuck in sending ends with the gateway."""
    with Gateway(Market(little_market(400_000))) as gateway, WireClient(gateway.port) as client:
        client.start({})
        time.sleep(0.1)
        assert any(one.name == "ifd-gateway-1" for one in threading.enumerate())
    assert not any(one.name.startswith("ifd-gateway") for one in threading.enumerate())


def test_the_command_serves_files(tmp_path: Path) -> None:
    """`ifd gateway FILE` prints where it listens, serves, and ends cleanly when told to."""
    tape = little_market(200)
    path = tmp_path / "some.dbn"
    path.write_bytes(_file_of(tape))
    code = "from ifd_fast.cli import main; main()"
    command = [sys.executable, "-c", code, "gateway", str(path), "--port", "0", "--speed", "max"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            port = int(said.partition("127.0.0.1:")[2].partition(";")[0])
            for asked, count in (("ALL_SYMBOLS", 200), ("NQH6", 0)):  # the header maps nothing
                with WireClient(port) as client:
                    client.start({"symbols": asked, "start": 0})
                    assert len(orders_of(client.rest())) == count
            process.send_signal(signal.SIGINT)
            lines = [json.loads(line) for line in process.stdout]
            assert process.wait(5) == 0
        finally:
            process.kill()
    told = [(one["session"], one["what"]) for one in lines]  # each from a thread of its own
    expected = [(number, f"session {what}") for number in (1, 2)
                for what in ("authenticated", "ended")]  # fmt: skip
    assert sorted(told) == expected
    assert load_tape([path]).order_count((200,)) == 200


def _file_of(tape: Tape) -> bytes:
    """Return a DBN file of the tape's orders."""
    import databento_dbn as dbn

    metadata = dbn.Metadata(
        dataset=DATASET, start=0, end=2**63, stype_in=dbn.SType.from_str("raw_symbol"),
        stype_out=dbn.SType.from_str("instrument_id"), schema=dbn.Schema.from_str("mbo"),
        symbols=[], version=3,
    )  # fmt: skip
    return bytes(metadata) + tape.parts[0].rows.tobytes()
