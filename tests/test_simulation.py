"""The simulated market: integers as the formulas say, legal books, and nothing left to chance.

Goal: a stream that any engine must be able to replay. Method: kernels against their oracles, whole
sessions against an independent checker, and digests.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.calendar import Session, load_sessions
from ifd_fast.errors import ConfigError, UsageError
from ifd_fast.quantiles import alias_table, gap_table, share_table
from ifd_fast.simulation import Plant, Simulation
from ifd_fast.world import World, load_world, presets
from ifd_kernels import layout
from ifd_kernels import market_state as ms
from ifd_kernels.market_quotes import fair_rung, price_of, value_nickels
from ifd_kernels.randomness import draw_alias, next_bits
from tests.oracle import market_quotes as quotes_oracle
from tests.oracle import randomness as randomness_oracle
from tests.oracle.market_stream import Checker, Record, read_records

DAY = dt.date(2026, 3, 10)
WORDS = st.integers(0, 2**64 - 1)


@functools.cache
def session() -> Session:
    """Return a session in winter."""
    found = load_sessions().session_of(DAY)
    assert found is not None
    return found


@functools.cache
def small_world(**book: object) -> World:
    """Return the CI world with fewer quotes."""
    world = load_world("ci")
    clock = msgspec.structs.replace(world.clock, quotes_s=0.4)
    return msgspec.structs.replace(
        world, clock=clock, book=msgspec.structs.replace(world.book, **book)
    )


def stream(world: World, seed: int = 7, **options: object) -> bytes:
    """Return all records of a session."""
    simulation = Simulation(world, seed, session(), **options)  # type: ignore[arg-type]  # mixed
    return b"".join(chunk.tobytes() for chunk in simulation)


@functools.cache
def small_stream() -> tuple[Record, ...]:
    """Return the records of one small session."""
    return tuple(read_records(stream(small_world())))


def check(records: tuple[Record, ...] | list[Record]) -> Checker:
    """Return the checker after all records."""
    checker = Checker(session().open_ns)
    for record in records:
        checker.take(record)
    return checker


# --- integers ---------------------------------------------------------------------------------


@given(seed=WORDS)
def test_bits_are_those_of_splitmix(seed: int) -> None:
    """The generator gives the published one's numbers, from any counter."""
    counter = np.array([seed], dtype=np.uint64)
    expected_counter = seed
    for _ in range(3):
        expected_counter, expected = randomness_oracle.next_bits(expected_counter)
        with np.errstate(over="ignore"):
            assert int(next_bits(counter)) == expected
        assert int(counter[0]) == expected_counter


@given(bits=st.integers(0, 2**62), weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=50))
def test_alias_draws_as_its_oracle(bits: int, weights: list[float]) -> None:
    """A draw is the oracle's, for any table."""
    threshold, other = alias_table(weights)
    expected = randomness_oracle.draw_alias(bits, threshold.tolist(), other.tolist())
    assert int(draw_alias(np.int64(bits), threshold, other)) == expected


@given(weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=50))
def test_alias_tables_keep_the_weights(weights: list[float]) -> None:
    """What the columns of an alias table add up to is the weights, to its resolution."""
    threshold, other = alias_table(weights)
    mass = [0.0] * len(weights)
    for column, limit in enumerate(threshold.tolist()):
        mass[column] += limit / 65_536
        mass[int(other[column])] += 1 - limit / 65_536
    total = sum(weights)
    for actual, weight in zip(mass, weights, strict=True):
        assert actual == pytest.approx(len(weights) * weight / total, abs=len(weights) / 65_536)


KINDS = {
    "future": layout.KIND_FUTURE,
    "call": layout.KIND_CALL,
    "put": layout.KIND_PUT,
    "spread": layout.KIND_SPREAD,
}


@given(kind=st.sampled_from(sorted(KINDS)), rung=st.integers(-5_000, 200_000))
def test_prices_are_those_of_the_ladder(kind: str, rung: int) -> None:
    """A rung has the price that the contract's tick rule gives it."""
    assert price_of(KINDS[kind], np.int64(rung)) == quotes_oracle.price_of(kind, rung)


@pytest.mark.jit
def test_options_are_worth_what_bachelier_says() -> None:
    """The value from the table is the formula's to a nickel and a thousandth of the deviation."""
    simulation = Simulation(load_world("session"), 1, session())
    market = simulation.market
    for slot in range(1, 601, 7):
        deviation = int(market.instrument[slot]["spread_nickels"]) / 20
        strike = simulation.chain[slot].strike
        is_put = simulation.chain[slot].instrument_class == "P"
        for future in range(20_000 * 4, 22_000 * 4, 333):
            expected = quotes_oracle.value_nickels(future / 4, strike, deviation, is_put)
            actual = int(value_nickels(market, slot, np.int64(future)))
            assert actual == pytest.approx(expected, abs=1.5 + deviation * 20 / 1_000)


def test_no_option_is_free_money() -> None:
    """Calls cost less at higher strikes, puts more; both at least what exercise would give."""
    simulation = Simulation(load_world("session"), 1, session())
    market = simulation.market
    future = np.int64(21_000 * 4)
    values = [int(value_nickels(market, slot, future)) for slot in range(1, 151)]
    calls, puts = values[0::2], values[1::2]
    assert calls == sorted(calls, reverse=True)
    assert puts == sorted(puts)
    for place, (call, put) in enumerate(zip(calls, puts, strict=True)):
        money = int(future) * 5 - int(market.instrument[1 + 2 * place]["strike_nickels"])
        assert call - put == money
        assert call >= max(0, money)


def test_tables_have_4096_entries_and_their_mean() -> None:
    """A table of quantiles is full, sorted, and has the mean it promises."""
    gaps = gap_table(0.8)
    assert len(gaps) == ms.TABLE_LENGTH
    assert gaps == sorted(gaps)
    assert sum(gaps) / len(gaps) == pytest.approx(65_536, rel=1e-3)
    assert share_table([(1, 3.0), (9, 1.0)]).count(9) == ms.TABLE_LENGTH // 4


# --- the stream -------------------------------------------------------------------------------


def test_a_short_stream_is_a_legal_book() -> None:
    """The first records, opening and trades among them, are legal; also with the compiler off."""
    world = small_world(near=2, live_orders=0)
    checker = check(read_records(stream(world, records=700)))
    assert checker.faults == []
    assert checker.odd["T"] > 0


@pytest.mark.jit
def test_a_session_is_a_legal_book() -> None:
    """Replayed by the book's rules, nothing is unknown, crossed or out of time after the open."""
    checker = check(small_stream())
    assert checker.faults == []
    assert "C unknown" not in checker.odd
    assert "M unknown" not in checker.odd
    assert checker.odd["crossed"] >= 5


@pytest.mark.jit
@pytest.mark.parametrize("seed", range(4))
def test_other_seeds_are_legal_too(seed: int) -> None:
    """Legality is no luck of one seed, nor of one number of makers."""
    world = small_world(near=2 + 3 * seed, live_orders=500 * seed)
    checker = check(read_records(stream(world, seed)))
    assert checker.faults == []


@pytest.mark.jit
def test_the_irregularities_are_there() -> None:
    """Icebergs, fills off the price or of unseen orders, sideless trades, negative prices."""
    records = small_stream()
    checker = check(records)
    for name in ("F unknown", "F beyond displayed", "F off price"):
        assert checker.odd[name] > 0, name
    trades = [record for record in records if record[6] == "T"]
    volume = sum(record[4] for record in trades)
    sideless = sum(record[4] for record in trades if record[7] == "N")
    filled = sum(record[4] for record in records if record[6] == "F")
    assert 0.02 < sideless / volume < 0.09
    assert filled != volume
    assert any(record[3] < 0 for record in records)
    packets: dict[tuple[int, int], set[int]] = {}
    for record in records:
        packets.setdefault((record[1], record[10]), set()).add(record[0])
    assert any(len(instruments) > 1 for instruments in packets.values())


@pytest.mark.jit
def test_the_opening_is_an_auction() -> None:
    """The first trades bear the open's time, no side and no order, and come 106 ms late."""
    first = next(record for record in small_stream() if record[6] == "T")
    assert first[1] == session().open_ns
    assert first[7] == "N"
    assert first[2] == 0
    assert first[8] - first[1] == 105_900_877


@pytest.mark.jit
def test_every_event_ends() -> None:
    """Trades and fills don't end an event; the changes of the book after them do."""
    for record in small_stream():
        if record[6] == "F":
            assert record[5] == 0
        if record[6] == "A" and not record[5] & 32:
            assert record[5] == 130


@pytest.mark.jit
@pytest.mark.parametrize("chunk", [512, 700, 5_000])
def test_the_size_of_a_chunk_changes_nothing(chunk: int) -> None:
    """A stream that stops often is the stream that doesn't."""
    assert stream(small_world(), chunk_records=chunk) == stream(small_world())


@pytest.mark.jit
def test_a_shorter_stream_is_a_beginning() -> None:
    """Asking for fewer records gives the same records, fewer of them."""
    world = load_world("w1")
    clock = msgspec.structs.replace(world.clock, records=0, seconds=0.02)
    world = msgspec.structs.replace(
        world, clock=clock, book=msgspec.structs.replace(world.book, live_orders=12_000)
    )
    whole = stream(world, records=30_000)
    count = 15_000
    simulation = Simulation(world, 7, session(), records=30_000)
    simulation.market.rule[ms.R_RECORDS] = count
    part = b"".join(chunk.tobytes() for chunk in simulation)
    assert whole.startswith(part)
    assert count <= len(part) // 56 < count + 64


@pytest.mark.jit
def test_a_stream_is_its_seed() -> None:
    """The same world, seed and day give the same bytes; another seed or day others."""
    digests = {hashlib.sha256(stream(small_world(), seed)).hexdigest() for seed in (7, 7, 8)}
    assert len(digests) == 2


@pytest.mark.jit
def test_without_a_snapshot_orders_are_unknown() -> None:
    """A stream that starts in the middle names orders that nobody has seen."""
    checker = check(read_records(stream(small_world(snapshot=False))))
    assert checker.odd["C unknown"] > 0
    assert checker.odd["M unknown"] > 0
    assert "R" not in checker.odd


@pytest.mark.jit
def test_far_orders_stay_far() -> None:
    """No price that the walk can bring reaches the orders far from the market."""
    market = Simulation(small_world(), 3, session()).market
    low, high = int(market.rule[ms.R_FUTURE_LOW]), int(market.rule[ms.R_FUTURE_HIGH])
    for slot in range(len(market.instrument)):
        for future in range(low, high + 1, 40):
            fair = int(fair_rung(market, slot, np.int64(future)))
            assert market.instrument[slot]["deep_top"] < fair - 8
            assert market.instrument[slot]["deep_base"] > fair + 8


# --- what is planted --------------------------------------------------------------------------


def plants() -> Iterator[Plant]:
    """Yield a buyer of a call and a seller of a put."""
    yield Plant("NQH6 C21000", "BUY", 20_000, 300, 103, 20)
    yield Plant("NQH6 P20950", "SELL", 20_100, 600, 57, 57)


@pytest.mark.jit
def test_planted_children_are_in_the_stream() -> None:
    """Each child trades in full, under its own order id, at its time and on its side."""
    simulation = Simulation(small_world(), 7, session(), list(plants()))
    records = read_records(b"".join(chunk.tobytes() for chunk in simulation))
    assert check(records).faults == []
    trades: dict[int, list[Record]] = {}
    for record in records:
        if record[6] == "T" and record[2]:
            trades.setdefault(record[2], []).append(record)
    truth = msgspec.json.decode(simulation.truth(7))
    for plant, expected in zip(truth["plants"], plants(), strict=True):
        assert sum(child["filled"] for child in plant["trades"]) == expected.contracts
        assert len(plant["trades"]) == expected.children
        for child in plant["trades"]:
            found = trades[child["order_id"]]
            assert {record[1] for record in found} == {child["ts_event_ns"]}
            assert {record[7] for record in found} == {"B" if expected.side == "BUY" else "A"}
            assert sum(record[4] for record in found) == child["filled"]
            assert found[0][3] == child["price_1e9"]


def test_plants_outside_are_refused() -> None:
    """A symbol that isn't listed, or a time outside of the session, is named."""
    with pytest.raises(UsageError, match="isn't listed"):
        Simulation(small_world(), 1, session(), [Plant("ESH6 C5000", "BUY", 1, 1, 1, 1)])
    with pytest.raises(UsageError, match="outside"):
        Simulation(small_world(), 1, session(), [Plant("NQH6 C21000", "BUY", 90_000, 1, 1, 1)])


# --- worlds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", presets())
def test_presets_load(name: str) -> None:
    """Every packaged world is valid and bears its file's name."""
    assert load_world(name).name == name


@pytest.mark.jit
def test_workloads_have_their_sizes() -> None:
    """W1 has 600 instruments and 200,000 live orders, W2 10,000 and 1,000,000."""
    for name, instruments, orders in (("w1", 600, 200_000), ("w2", 10_000, 1_000_000)):
        simulation = Simulation(load_world(name), 1, session())
        market = simulation.market
        live = np.count_nonzero(market.near["size"]) + np.count_nonzero(market.deep["size"])
        assert len(simulation.chain) == instruments
        assert live == pytest.approx(orders, rel=0.03)


def test_unknown_worlds_are_refused(tmp_path: Path) -> None:
    """A name that is no preset and no file, or a key that no code reads, is refused by name."""
    with pytest.raises(ConfigError, match="session"):
        load_world("nowhere")
    path = tmp_path / "world.toml"
    path.write_text('name = "x"\nhats = 3\n[chain]\nexpiries = ["quarter"]\nstrikes = 3\n')
    with pytest.raises(ConfigError, match="hats"):
        load_world(path)
