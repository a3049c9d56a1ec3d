"""What the gateway does wrong on purpose, and what a client sees of it."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from ifd_fast.errors import UsageError
from ifd_fast.gateway import Gateway
from ifd_fast.gateway_faults import (
    AT_HANDSHAKE,
    FOR_NOW,
    IN_STREAM,
    KINDS,
    Fault,
    Faults,
    draw_faults,
    load_faults,
)
from ifd_fast.gateway_market import Market
from tests.gateway_client import (
    ERROR,
    ORDER,
    SYSTEM,
    Refused,
    WireClient,
    code_of,
    little_market,
    orders_of,
    play,
    records_of,
    refusal,
)

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.border


def whole_records(stream: bytes) -> int:
    """Return how many MBO records came whole."""
    return len(orders_of(stream))


@pytest.mark.parametrize("place", [0, 1, 777, 1999])
@pytest.mark.parametrize("kind", ["eof", "cut", "reset", "fatal", "corrupt"])
def test_a_fault_ends_the_session_at_its_place(kind: str, place: int) -> None:
    """All records before it came, none after; a cut one came in part."""
    tape = little_market()
    stream = play(tape, faults=[Fault(kind, after_records=place)])
    if kind != "reset":  # which may swallow what was on its way
        assert whole_records(stream) == place
    errors = [one.data for one in records_of(stream) if one.rtype == ERROR]
    assert [code_of(one, ERROR) for one in errors] == ([6] if kind == "fatal" else [])
    records = b"".join(one.data for one in records_of(stream))
    torn = len(stream) - 8 - int.from_bytes(stream[4:8], "little") - len(records)
    assert torn == {"cut": 28, "corrupt": 24}.get(kind, 0)


@pytest.mark.parametrize(
    ("kind", "rtype", "code"), [("slow_reader", SYSTEM, 2), ("error", ERROR, 7)]
)
def test_a_warning_ends_nothing(kind: str, rtype: int, code: int) -> None:
    """The record stands between the two it was planned between; all orders come."""
    stream = play(little_market(), faults=[Fault(kind, after_records=500)])
    records = records_of(stream)
    place = next(n for n, one in enumerate(records)
                 if one.rtype == rtype and code_of(one.data, rtype) == code)  # fmt: skip
    assert sum(one.rtype == ORDER for one in records[:place]) == 500
    assert whole_records(stream) == 2000


def test_faults_at_one_place_all_happen_there() -> None:
    """A warning and an end behind the same record; what is planned after them is not run over."""
    faults = [Fault("slow_reader", after_records=500), Fault("eof", after_records=500)]
    faults.append(Fault("eof", after_records=700))
    stream = play(little_market(), faults=faults)
    assert whole_records(stream) == 500
    warned = [one for one in records_of(stream) if one.rtype == SYSTEM]
    assert 2 in [code_of(one.data, SYSTEM) for one in warned]


def test_a_stall_is_silence_and_then_it_goes_on() -> None:
    """Nothing for its seconds, then the rest."""
    began = time.monotonic()
    stream = play(little_market(), faults=[Fault("stall", after_records=5, seconds=0.3)])
    assert time.monotonic() - began >= 0.3
    assert whole_records(stream) == 2000


def test_a_half_open_connection_stays_silent() -> None:
    """Not even a heartbeat comes; the gateway can be closed all the same."""
    faults = Faults([Fault("half_open", after_records=5)])
    market = Market(little_market(), faults=faults)
    with Gateway(market) as gateway, WireClient(gateway.port) as client:
        client.start({})
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.rest()


@pytest.mark.parametrize("kind", sorted(set(AT_HANDSHAKE) - {"aged_out", "no_greeting"}))
def test_a_handshake_can_be_refused_once(kind: str) -> None:
    """The first connection is refused, the second is let in."""
    faults = Faults([Fault(kind, connection=1)])
    with Gateway(Market(little_market(10), faults=faults)) as gateway:
        assert refusal(gateway)
        with WireClient(gateway.port) as client:
            client.start({})
            assert whole_records(client.rest()) == 10


def test_a_connection_can_end_without_a_greeting() -> None:
    """It is accepted and closed."""
    faults = Faults([Fault("no_greeting", connection=1)])
    with (
        Gateway(Market(little_market(10), faults=faults)) as gateway,
        pytest.raises(Refused),
        WireClient(gateway.port),
    ):
        pass


def test_a_replay_can_have_aged_out() -> None:
    """It is refused by an error record, and the session ends."""
    stream = play(little_market(10), {"start": 1}, faults=[Fault("aged_out", connection=1)])
    errors = [one.data for one in records_of(stream) if one.rtype == ERROR]
    assert [code_of(one, ERROR) for one in errors] == [8]
    assert whole_records(stream) == 0


def test_sessions_share_a_plan_of_faults() -> None:
    """Each fault happens once: who comes back after it gets on, and in the end has everything."""
    tape = little_market()
    part = tape.parts[0]
    faults = [Fault("eof", after_records=300), Fault("cut", after_records=900)]
    log: list[dict[str, object]] = []
    market = Market(tape, faults=Faults(faults),
                    log=lambda what, about: log.append({"what": what, **about}))  # fmt: skip
    found = []
    with Gateway(market) as gateway:
        for _ in range(3):
            with WireClient(gateway.port) as client:
                client.start({})
                found.append(orders_of(client.rest()))
    assert [len(one) for one in found] == [300, 600, 1100]
    assert b"".join(one.tobytes() for one in found) == part.rows.tobytes()
    told = [one for one in log if one["what"] == "fault"]
    assert [(one["kind"], one["session"]) for one in told] == [("eof", 1), ("cut", 2)]


def test_a_seed_draws_the_same_faults(tmp_path: Path) -> None:
    """The same seed, the same plan; a file says the same; what is no fault is refused by name."""
    drawn = draw_faults(7, 10_000)
    assert drawn == draw_faults(7, 10_000) == load_faults("7", 10_000)
    assert drawn != draw_faults(8, 10_000)
    assert all(0 <= one.after_records < 10_000 for one in drawn)
    path = tmp_path / "plan.toml"
    path.write_text('[[fault]]\nkind = "eof"\nafter_records = 3\n')
    assert list(load_faults(str(path), 10)) == [Fault("eof", after_records=3)]
    for text in ('[[fault]]\nkind = "quake"\n', '[[fault]]\nkind = "aged_out"\n', "[fault",
                 '[[fault]]\nkind = "eof"\nafter_records = -1\n', "other = 1\n"):  # fmt: skip
        path.write_text(text)
        with pytest.raises(UsageError, match="--faults"):
            load_faults(str(path), 10)
    kinds = Counter(one.kind for seed in range(1000) for one in draw_faults(seed, 100))
    assert set(kinds) == {*IN_STREAM, *FOR_NOW}
    assert min(kinds.values()) > 500
    assert set(KINDS) - set(kinds) == {"auth_refused", "key_deactivated", "aged_out"}
