"""Definitions, statuses and mappings, against databento's own decoder and real files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import databento_dbn
import msgspec
import numpy as np
import pytest
from databento_dbn import v1, v2, v3
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.definitions import (
    Definition,
    check_definitions_day,
    decode_definitions,
    decode_mapping,
    decode_status,
    definition_fields,
)
from ifd_fast.errors import FormatError, SchemaError
from ifd_fast.symbols import parse_futures_symbol, parse_option_symbol
from ifd_kernels.layout import (
    KIND_CALL,
    KIND_FUTURE,
    KIND_PUT,
    KIND_SPREAD,
    KIND_UNKNOWN,
    UNDEF_PRICE,
)
from tests.real_records import decode_all, read_records
from tests.strategies_instruments import define

MODULES: dict[int, Any] = {1: v1, 2: v2, 3: v3}
DAY_NS = 86_400_000_000_000
OPTIONS = "glbx/options"
FILES = [
    f"{OPTIONS}/es-opt-20230801.definition.dbn.zst",
    f"{OPTIONS}/esm4-nqm4-20240509.definition.dbn.zst",
    f"{OPTIONS}/esm4-puts-20240509.definition.dbn.zst",
    f"{OPTIONS}/ew2f6-20260109.definition.dbn.zst",
    f"{OPTIONS}/es-2026.option.definition.v3.dbn.zst",
    f"{OPTIONS}/es-2026.option_spread.definition.v3.dbn.zst",
    f"{OPTIONS}/es-2026.futures_contract.definition.v3.dbn.zst",
    f"{OPTIONS}/es-2026.futures_spread.definition.v3.dbn.zst",
    "glbx/futures/esm4.definition.dbn.zst",
    "glbx/live/mixed.live.dbn.zst",
    "versions/definition.v1.dbn.zst",
    "versions/definition.v2.dbn.zst",
    "versions/definition.v3.dbn.zst",
]
KINDS = {
    "C": KIND_CALL,
    "P": KIND_PUT,
    "F": KIND_FUTURE,
    "S": KIND_SPREAD,
    "T": KIND_SPREAD,
    "M": KIND_SPREAD,
}


def letter(value: Any) -> str:
    return str(getattr(value, "value", value))


def time_ns(value: int) -> int:
    return -1 if value >= 2**63 else value


def from_databento(one: Any) -> Definition:
    """Return what databento decoded, in our form."""
    instrument_class = letter(one.instrument_class)
    kind = KINDS.get(instrument_class, KIND_UNKNOWN)
    return Definition(
        instrument_id=one.instrument_id,
        raw_symbol=one.raw_symbol,
        kind=kind,
        instrument_class=instrument_class,
        strike_1e9=one.strike_price if kind in {KIND_CALL, KIND_PUT} else UNDEF_PRICE,
        expiration_ns=time_ns(one.expiration),
        underlying=one.underlying,
        underlying_id=one.underlying_id,
        asset=one.asset,
        security_update_action=letter(one.security_update_action),
        user_defined=letter(one.user_defined_instrument) == "Y",
        min_price_increment_1e9=one.min_price_increment,
        tick_rule=one.tick_rule,
        unit_of_measure_qty_1e9=one.unit_of_measure_qty,
        ts_event_ns=one.ts_event,
        ts_recv_ns=one.ts_recv,
        leg_count=getattr(one, "leg_count", 0),
    )


def make_v3(**fields: Any) -> bytes:
    """Return a definition record of version 3 with `fields` as the wire has them."""
    row = np.zeros(1, np.dtype(MODULES[3].InstrumentDefMsg._dtypes))
    row["length"], row["rtype"] = 130, 0x13
    row["expiration"], row["strike_price"] = 2**64 - 1, UNDEF_PRICE
    for name, value in fields.items():
        row[name] = value
    return row.tobytes()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_offsets_are_those_of_the_library(version: int) -> None:
    """Every field read has the offset, the type and the record size databento_dbn gives it."""
    expected = np.dtype(MODULES[version].InstrumentDefMsg._dtypes)
    fields = definition_fields(version)
    assert {name: expected.fields[name][1] for name in fields} == {
        name: offset for name, (_, offset) in fields.items()
    }
    assert {name: expected[name] for name in fields} == {
        name: np.dtype(form) for name, (form, _) in fields.items()
    }
    assert decode_definitions([bytes(expected.itemsize)], version)[0].instrument_id == 0
    with pytest.raises(FormatError, match=f"have {expected.itemsize} bytes, was"):
        decode_definitions([bytes(expected.itemsize - 8)], version)


@pytest.mark.parametrize("name", FILES)
def test_real_definitions_equal_the_library(real_data: Callable[[str], Path], name: str) -> None:
    """Each field of each real definition is what databento's decoder says."""
    path = real_data(name)
    version, records = read_records(path, 0x13)
    decoded = [one for one in decode_all(path) if type(one).__name__.startswith("InstrumentDef")]
    expected = [from_databento(one) for one in decoded]
    assert expected
    assert decode_definitions(records, version) == expected


def test_versions_say_the_same(real_data: Callable[[str], Path]) -> None:
    """The same records as DBN 1, 2 and 3 decode to equal definitions."""
    decoded = []
    for version in (1, 2, 3):
        path = real_data(f"versions/definition.v{version}.dbn.zst")
        decoded.append(decode_definitions(read_records(path, 0x13)[1], version))
    assert decoded[0] == decoded[1] == decoded[2]
    assert [one.raw_symbol for one in decoded[0]] == ["MSFT", "MSFT"]
    assert decoded[0][0].expiration_ns == -1


def test_what_the_2026_definitions_say(real_data: Callable[[str], Path]) -> None:
    """Variable tick and spreads: UNDEF increment with rule 17, spreads without strike."""

    def read(name: str) -> list[Definition]:
        path = real_data(f"{OPTIONS}/es-2026.{name}.definition.v3.dbn.zst")
        return decode_definitions(read_records(path, 0x13)[1], 3)

    call, put = read("option")
    assert (call.raw_symbol, call.strike_1e9) == ("ESU6 C9600", 9_600_000_000_000)
    assert (put.kind, put.underlying, put.underlying_id) == (KIND_PUT, "ESU6", 42140870)
    assert (call.min_price_increment_1e9, call.tick_rule) == (UNDEF_PRICE, 17)
    spreads = read("option_spread") + read("futures_spread")
    assert [one.instrument_class for one in spreads] == ["T", "M", "S"]
    assert all(one.kind == KIND_SPREAD and one.strike_1e9 == UNDEF_PRICE for one in spreads)
    assert [one.user_defined for one in spreads] == [True, True, False]
    assert spreads[0].raw_symbol == "UD:2E: SG 2500275"


@given(st.permutations(range(4)))
def test_legs_are_joined_in_any_order(order: list[int]) -> None:
    """A spread's records, one a leg, become one definition at the place of the first."""
    records = [
        make_v3(
            instrument_id=5 if index < 3 else 6,
            raw_symbol=b"UD:1V: BO 5",
            instrument_class=b"T",
            security_update_action=b"A",
            leg_count=3 if index < 3 else 0,
            leg_index=index,
            leg_instrument_id=100 + index,
            leg_raw_symbol=f"ESM4 C500{index}".encode(),
            leg_instrument_class=b"C",
            leg_side=b"AB"[index % 2 : index % 2 + 1],
            leg_ratio_qty_numerator=index + 1,
            leg_ratio_qty_denominator=1,
            leg_underlying_id=7,
        )
        for index in range(4)
    ]
    joined = decode_definitions([records[index] for index in order], 3)
    spread = next(one for one in joined if one.instrument_id == 5)
    assert sorted(one.instrument_id for one in joined) == [5, 6]
    assert [leg.index for leg in spread.legs] == [0, 1, 2]
    assert [leg.instrument_id for leg in spread.legs] == [100, 101, 102]
    assert [leg.side for leg in spread.legs] == ["A", "B", "A"]
    assert [leg.ratio_numerator for leg in spread.legs] == [1, 2, 3]
    assert spread.legs[0].symbol == "ESM4 C5000"
    assert spread.legs[0].kind == KIND_CALL
    assert next(one for one in joined if one.instrument_id == 6).legs == ()


def test_one_record_at_a_time_equals_all_at_once() -> None:
    """A stream gives single records, with eight more bytes if it sends ts_out: the same comes."""
    records = [make_v3(instrument_id=index, raw_symbol=f"S{index}".encode()) for index in range(5)]
    expected = decode_definitions(records, 3)
    singly = [decode_definitions([one], 3)[0] for one in records]
    with_ts_out = decode_definitions([one + bytes(8) for one in records], 3)
    assert singly == with_ts_out == expected
    assert decode_definitions([], 3) == []


def test_text_ends_at_its_first_zero() -> None:
    """Damaged text is cut at its zero byte, and bytes beyond ASCII don't stop the stream."""
    (one,) = decode_definitions([make_v3(raw_symbol=b"ES\0M4", asset=b"\xffS")], 3)
    assert one.raw_symbol == "ES"
    assert one.asset == "\ufffdS"


@pytest.mark.parametrize("version", [0, 4])
def test_other_versions_are_refused(version: int) -> None:
    """Only DBN 1 to 3 is read, by name."""
    with pytest.raises(FormatError, match=f"was {version}"):
        decode_definitions([bytes(520)], version)
    with pytest.raises(FormatError, match=f"was {version}"):
        decode_mapping(bytes(176), version)


def test_short_records_are_refused() -> None:
    """A status or a mapping that is too short is named with both lengths."""
    with pytest.raises(FormatError, match="40 bytes, was 39"):
        decode_status(bytes(39))
    with pytest.raises(FormatError, match="80 bytes, was 79"):
        decode_mapping(bytes(79), 1)
    with pytest.raises(FormatError, match="was 512"):
        decode_definitions([bytes(520), bytes(512)], 3)


@given(
    st.integers(0, 2**32 - 1), st.integers(0, 15), st.sampled_from("YN~"), st.integers(0, 2**64 - 1)
)
def test_status_equals_the_library(
    instrument_id: int, action: int, trading: str, ts_recv: int
) -> None:
    """A status written by the library's own layout comes back field by field."""
    row = np.zeros(1, np.dtype(MODULES[3].StatusMsg._dtypes))
    row["length"], row["rtype"], row["instrument_id"] = 10, 0x12, instrument_id
    row["action"], row["reason"], row["trading_event"] = action, 3, 2
    row["is_trading"], row["ts_event"], row["ts_recv"] = trading.encode(), 77, ts_recv
    actual = decode_status(row.tobytes())
    assert (actual.instrument_id, actual.action, actual.is_trading) == (
        instrument_id,
        action,
        trading,
    )
    assert (actual.reason, actual.trading_event) == (3, 2)
    assert (actual.ts_event_ns, actual.ts_recv_ns) == (77, time_ns(ts_recv))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_mapping_equals_the_library(version: int) -> None:
    """A mapping written by the library's own layout comes back in each version."""
    row = np.zeros(1, np.dtype(MODULES[version].SymbolMappingMsg._dtypes))
    row["instrument_id"], row["ts_event"] = 183748, 9
    row["stype_in_symbol"], row["stype_out_symbol"] = b"ES.FUT", b"ESZ4"
    row["start_ts"], row["end_ts"] = 5, 2**64 - 1
    if version > 1:
        row["stype_in"], row["stype_out"] = 4, 1
    actual = decode_mapping(row.tobytes(), version)
    assert (actual.instrument_id, actual.symbol, actual.ts_event_ns) == (183748, "ESZ4", 9)
    assert (actual.stype_in_symbol, actual.start_ns, actual.end_ns) == ("ES.FUT", 5, -1)
    if version > 1:  # asked by raw symbol, answered by number
        row["stype_in"], row["stype_out"] = 1, 0
        assert decode_mapping(row.tobytes(), version).symbol == "ES.FUT"


def test_live_capture(real_data: Callable[[str], Path]) -> None:
    """Among 46 records of mixed types, 20 mappings all say that 183748 is ESZ4."""
    path = real_data("glbx/live/mixed.live.dbn.zst")
    version, records = read_records(path, 0x16)
    mappings = [decode_mapping(one, version) for one in records]
    assert len(decode_all(path)) == 46
    assert [(one.instrument_id, one.symbol) for one in mappings] == [(183748, "ESZ4")] * 20
    assert {(one.start_ns, one.end_ns) for one in mappings} == {(-1, -1)}


@pytest.mark.parametrize(
    ("symbol", "reference_year", "expected"),
    [
        ("ESH4", None, ("ES", 3, 4, "H4")),
        ("ESH4", 2023, ("ES", 3, 2024, "H4")),
        ("ESZ7", 2023, ("ES", 12, 2027, "Z7")),
        ("ESZ3", 2023, ("ES", 12, 2023, "Z3")),
        ("NGN25", 1999, ("NG", 7, 2025, "N25")),
        ("6EM4", None, ("6E", 6, 4, "M4")),
        ("ESU6-ESM7", None, None),
        ("ESM4 C5000", None, None),
        ("ES.c.0", None, None),
        ("H4", None, None),
        ("ESA4", None, None),
        ("ESH4\n", None, None),
        ("ESH\u0664", None, None),
        ("UD:1V: VT 2891913", None, None),
        ("", None, None),
    ],
)
def test_futures_symbols(symbol: str, reference_year: int | None, expected: Any) -> None:
    """Root, month and year of outright futures; nothing else is one."""
    assert parse_futures_symbol(symbol, reference_year) == expected


def test_option_symbols() -> None:
    """Series, type and strike as written of outright options; a spread is none."""
    assert parse_option_symbol("Q2AM6 P21500") == ("Q2A", "P", "21500")
    assert parse_option_symbol("ESZ7 C5200") == ("ES", "C", "5200")
    assert parse_option_symbol("UD:1V: CO 2533938") is None
    assert parse_option_symbol("ESZ7") is None


def test_strikes_agree_with_symbols(real_data: Callable[[str], Path]) -> None:
    """As a cross-check, each real outright's symbol tells its definition's strike and type."""
    checked = 0
    for name in FILES:
        version, records = read_records(real_data(name), 0x13)
        for one in decode_definitions(records, version):
            option = parse_option_symbol(one.raw_symbol)
            assert (option is not None) == (one.kind in {KIND_CALL, KIND_PUT})
            if option is not None:
                assert int(option.strike_text) * 1_000_000_000 == one.strike_1e9
                assert option.letter == one.instrument_class
                checked += 1
    assert checked == 7


# --- days ---
@pytest.mark.parametrize(
    ("captured_day", "kept"), [(8, False), (9, True), (10, True), (11, True), (12, False)]
)
def test_definitions_hold_for_their_session(captured_day: int, kept: bool) -> None:
    """Data of a session from day 10, 22:00 UTC, to day 11 take definitions of days 9 to 11."""
    start_ns, end_ns = 10 * DAY_NS + 22 * DAY_NS // 24, 11 * DAY_NS + 21 * DAY_NS // 24
    definitions = [define(ts_recv_ns=captured_day * DAY_NS)]
    if kept:
        assert check_definitions_day(definitions, start_ns, end_ns) == definitions
        return
    message = rf"chain\.dbn: definitions of 1970-01-{captured_day + 1:02}, but the data are of "
    with pytest.raises(SchemaError, match=message + "1970-01-11 to 1970-01-12"):
        check_definitions_day(definitions, start_ns, end_ns, "chain.dbn")


def test_only_the_days_of_the_data_are_kept() -> None:
    """Of a month's file, what holds on the data's day remains; an end at midnight is no new day."""
    month = [define(ts_recv_ns=day * DAY_NS) for day in range(31)]
    kept = check_definitions_day(month, 10 * DAY_NS, 11 * DAY_NS)
    assert [one.ts_recv_ns // DAY_NS for one in kept] == [9, 10]
    assert check_definitions_day([], 0, DAY_NS) == []


def test_without_a_capture_time_the_event_time_counts() -> None:
    """Where ts_recv is UNDEF, ts_event says the day."""
    one = define(ts_recv_ns=-1, ts_event_ns=3 * DAY_NS)
    assert check_definitions_day([one], 3 * DAY_NS, 4 * DAY_NS) == [one]


def test_definitions_can_be_written_down() -> None:
    """A definition survives msgspec's JSON, as reports have it."""
    one = define()
    assert msgspec.json.decode(msgspec.json.encode(one), type=Definition) == one
    assert databento_dbn.UNDEF_PRICE == UNDEF_PRICE
