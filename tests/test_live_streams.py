"""Streams that no exchange should send, live and cut, give what the replay of their bytes gives."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import pytest

from ifd_fast.collecting import ReplayResult
from ifd_fast.live_states import State
from ifd_fast.replaying import replay as replay_file
from tests.live_server import serving
from tests.strategies_interface import (
    CALL,
    CHAIN,
    OPEN,
    PUT,
    SECOND,
    SMALL,
    definitions,
    event,
)
from tests.strategies_wire import mbo
from tests.test_live_session import Run, live_header, message, records, replayed, resumed, same

pytestmark = pytest.mark.jit
SEEDS = range(max(1, int(os.environ.get("FAULT_SEEDS", "1")) // 50))
ORDER = 0xA0
F_LAST, F_SNAPSHOT, F_BAD_TS_RECV, F_MAYBE_BAD_BOOK = 128, 32, 8, 4
UNKNOWN_ID = 77_777
Records = list[bytes]


def time_of(one: bytes, at: int = 8) -> int:
    """Return ts_event of a record; of an MBO record `at` 40 is ts_recv."""
    return int.from_bytes(one[at : at + 8], "little")


def put(one: bytes, at: int, data: bytes) -> bytes:
    """Return a record with some of its bytes changed."""
    return one[:at] + data + one[at + len(data) :]


def orders(stream: Records, drawn: random.Random, count: int) -> list[int]:
    """Draw places of MBO records, in order."""
    places = [number for number, one in enumerate(stream) if one[1] == ORDER]
    return sorted(drawn.sample(places, count))


def flagged(stream: Records, drawn: random.Random, on: int, off: int = 0) -> Records:
    """Change flags of 40 records."""
    for place in orders(stream, drawn, 40):
        one = stream[place]
        stream[place] = put(one, 36, bytes([(one[36] | on) & ~off]))
    return stream


def beside(stream: Records, drawn: random.Random, make: Callable[[int], bytes]) -> Records:
    """Put 30 records before others; `make` gives each by the ts_event of its neighbour."""
    for place in reversed(orders(stream, drawn, 30)):
        stream.insert(place, make(time_of(stream[place])))
    return stream


def moved(stream: Records, drawn: random.Random, least_s: float, most_s: float) -> Records:
    """Have 30 records claim another ts_event; they are received when they were."""
    for place in orders(stream, drawn, 30):
        ts_ns = time_of(stream[place]) + round(drawn.uniform(least_s, most_s) * SECOND)
        stream[place] = put(stream[place], 8, ts_ns.to_bytes(8, "little"))
    return stream


def bad_book(stream: Records, drawn: random.Random) -> Records:
    """Say of some records that the book may be bad."""
    return flagged(stream, drawn, F_MAYBE_BAD_BOOK)


def no_last(stream: Records, drawn: random.Random) -> Records:
    """Leave F_LAST out of some."""
    return flagged(stream, drawn, 0, F_LAST)


def cleared(stream: Records, drawn: random.Random) -> Records:
    """Clear a book now and then."""
    return beside(
        stream, drawn,
        lambda ts_ns: mbo(action="R", side="N", order_id=0, size=0, instrument_id=CALL,
                          ts_event=ts_ns, ts_recv=ts_ns + 100_000),
    )  # fmt: skip


def snapshots(stream: Records, drawn: random.Random) -> Records:
    """Send a snapshot in the middle: a clear and two orders, by the clocks of snapshots."""
    flags = F_SNAPSHOT | F_BAD_TS_RECV
    for place in reversed(orders(stream, drawn, 5)):
        ts_ns = time_of(stream[place])
        made = partial(mbo, ts_event=ts_ns, ts_recv=ts_ns, instrument_id=CALL)
        stream[place:place] = [
            made(action="R", side="N", order_id=0, size=0, flags=flags),
            made(order_id=8, flags=flags),
            made(order_id=9, side="A", price=6_000_000_000, flags=flags | F_LAST),
        ]
    return stream


def unknown_types(stream: Records, drawn: random.Random) -> Records:
    """Send records of types that there are not."""
    return beside(
        stream, drawn,
        lambda ts_ns: bytes([10, 0xEE]) + bytes(6) + ts_ns.to_bytes(8, "little") + bytes(24),
    )  # fmt: skip


def unknown_ids(stream: Records, drawn: random.Random) -> Records:
    """Trade what nobody has defined."""
    return beside(
        stream, drawn, lambda ts_ns: event((ts_ns - OPEN) / SECOND, instrument_id=UNKNOWN_ID)
    )


def without(stream: Records, instrument_id: int) -> Records:
    """Leave an instrument's definition out."""
    wanted = instrument_id.to_bytes(4, "little")
    return [one for one in stream if one[1] != 0x13 or one[4:8] != wanted]


def defined_at(stream: Records, second: float, instrument_id: int, symbol: str) -> Records:
    """Define an instrument so long after the open."""
    at_ns = OPEN + round(second * SECOND)
    listing = next(one for one in CHAIN if one.instrument_id == instrument_id)
    made = definitions([listing._replace(symbol=symbol or listing.symbol)], at_ns)
    place = next(
        n for n, one in enumerate(stream) if one[1] == ORDER and time_of(one) >= at_ns
    )  # fmt: skip
    return [*stream[:place], made, *stream[place:]]


def late_definition(stream: Records, drawn: random.Random) -> Records:
    """Define an option only after its first trades."""
    return defined_at(without(stream, CALL), drawn.uniform(3_650, 4_100), CALL, "")


def changed_definition(stream: Records, drawn: random.Random) -> Records:
    """Give an id to another option, and again to the first."""
    first = defined_at(stream, drawn.uniform(3_650, 4_100), PUT, "NQH6 P19900")
    return defined_at(first, drawn.uniform(4_210, 4_300), PUT, "")


def missing_definition(stream: Records, _drawn: random.Random) -> Records:
    """Never define an option that trades."""
    return without(stream, PUT)


def out_of_order(stream: Records, drawn: random.Random) -> Records:
    """Have records claim an earlier time, within the lateness that windows wait for."""
    return moved(stream, drawn, -0.9, 0.0)


def far_back(stream: Records, drawn: random.Random) -> Records:
    """Have records claim to be minutes old: too late for any window."""
    return moved(stream, drawn, -400.0, -30.0)


def far_ahead(stream: Records, drawn: random.Random) -> Records:
    """Have records claim to be from long after their receipt."""
    return moved(stream, drawn, 2.0, 7_200.0)


CUT = [
    bad_book, no_last, cleared, unknown_types, unknown_ids, late_definition, changed_definition,
    missing_definition, out_of_order, far_ahead,
]  # fmt: skip
# What a replay by ts_event doesn't hold, or holds otherwise; these are sent in one connection.
WHOLE = [snapshots, far_back]


def oracle(stream: Sequence[bytes], folder: Path) -> ReplayResult:
    """Return what the replay of these very bytes, as a file, gives."""
    (folder / "small.toml").write_text(SMALL)
    (folder / "clean.dbn").write_bytes(live_header() + b"".join(stream))
    return replay_file(folder / "clean.dbn", profile=folder / "small.toml")


@cache
def plain() -> bytes:
    """Return the stream that nothing was done to."""
    return b"".join(records())


def play(stream: Records, cuts: list[int]) -> tuple[Run, ReplayResult]:
    """Run a session over connections that end there, to the end of the stream.

    A reset may swallow what was on its way, and so be another cut each time: not here.
    """
    with serving(resumed(cuts, ["eof"] * len(cuts), stream)) as gateway:
        run = Run(gateway.address)
        run.until(
            lambda: (
                run.session.counts["connections"] == len(cuts) + 1
                and run.session.state is State.LIVE
            )
        )
        if not cuts:
            sent = len(live_header()) + 6 * len(message(0x17, 3, "")) + sum(map(len, stream))
            run.until(lambda: run.session.counts["bytes"] == sent)
        return run, run.finish()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("change", [*CUT, *WHOLE], ids=lambda one: one.__name__)
def test_a_strange_stream_is_its_replay(
    tmp_path: Path, change: Callable[[Records, random.Random], Records], seed: int
) -> None:
    """Cut twice at any byte and resumed: rows and grades are those of the same bytes replayed."""
    drawn = random.Random(f"{seed} {change.__name__}")
    stream = change(list(records()), drawn)
    assert b"".join(stream) != plain()
    size = sum(map(len, stream))
    cuts = sorted(drawn.randrange(12_000, size) for _ in range(2 if change in CUT else 0))
    run, found = play(stream, cuts)
    clean = oracle(stream, tmp_path)
    assert (run.session.duplicates["duplicates"] > 0) == (change in CUT)
    assert run.session.duplicates["changed_duplicates"] == 0
    assert same(found.windows, clean.windows)
    assert found.rows_digest == clean.rows_digest
    assert found.counts["trades"] == clean.counts["trades"]
    assert replayed(run.record, 1_001).rows_digest == clean.rows_digest


def grades(stream: Records, folder: Path) -> dict[int, set[str]]:
    """Return the grades that each instrument's windows have."""
    rows = oracle(stream, folder).windows
    return {
        one: set(rows.filter(rows["instrument_id"] == one)["quality"])
        for one in set(rows["instrument_id"])
    }


def test_what_is_strange_is_graded(tmp_path: Path) -> None:
    """A book that may be bad is D, what nobody defined F; the others stay as they were."""
    drawn = random.Random(1)
    before = grades(list(records()), tmp_path)
    assert "D" not in before[CALL]
    assert "D" in grades(bad_book(list(records()), drawn), tmp_path)[CALL]
    unknown = grades(unknown_ids(list(records()), drawn), tmp_path)
    assert unknown.pop(UNKNOWN_ID) == {"F"}
    assert unknown == before
    assert grades(missing_definition(list(records()), drawn), tmp_path)[PUT] == {"F"}


def test_symbols_that_resolve_to_nothing_are_told() -> None:
    """An error record of code 4 names them; the session goes on with the others."""
    from tests.live_server import Script

    begin = live_header() + message(0x15, 4, "Failed to resolve symbol: ZZ.OPT")
    sent = [begin + message(0x17, 3, "Finished") * 2, *records()]
    with serving(lambda _number, _told: Script(sent, "hold")) as gateway:
        run = Run(gateway.address)
        run.until(lambda: run.session.counts["bytes"] == sum(map(len, sent)))
        assert run.session.state is State.LIVE
        assert run.session.notes == ["live gateway: Failed to resolve symbol: ZZ.OPT (code 4)"]
        assert run.session.counts["gateway_errors"] == 1
        assert run.finish().windows.height > 0
