"""Definition, status and symbol mapping records of DBN 1 to 3, from their raw bytes.

Offsets are the wire's own and hard-coded: the decoder library's field lists have changed under
running programs before. A test compares every offset and every decoded field with the library.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from typing import Any, Final, TypeAlias, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from ifd_fast.errors import FormatError, SchemaError
from ifd_kernels.layout import (
    KIND_CALL,
    KIND_FUTURE,
    KIND_PUT,
    KIND_SPREAD,
    KIND_UNKNOWN,
    UNDEF_PRICE,
)

__all__ = [
    "Definition",
    "Leg",
    "Status",
    "SymbolMapping",
    "check_definitions_day",
    "decode_definitions",
    "decode_mapping",
    "decode_status",
    "definition_fields",
]

Records: TypeAlias = NDArray[Any]
Fields: TypeAlias = dict[str, tuple[str, int]]

_ALL: Final[Fields] = {
    "instrument_id": ("<u4", 4),
    "ts_event": ("<u8", 8),
    "ts_recv": ("<u8", 16),
    "min_price_increment": ("<i8", 24),
    "expiration": ("<u8", 40),
    "activation": ("<u8", 48),
}
_V1: Final[Fields] = {
    "unit_of_measure_qty": ("<i8", 88),
    "underlying_id": ("<u4", 116),
    "raw_symbol": ("S22", 200),
    "asset": ("S7", 248),
    "security_type": ("S7", 262),
    "underlying": ("S21", 300),
    "instrument_class": ("S1", 325),
    "strike_price": ("<i8", 328),
    "security_update_action": ("S1", 349),
    "user_defined_instrument": ("S1", 353),
    "tick_rule": ("u1", 356),
}
_V2: Final[Fields] = {
    "unit_of_measure_qty": ("<i8", 88),
    "strike_price": ("<i8", 112),
    "underlying_id": ("<u4", 124),
    "raw_symbol": ("S71", 200),
    "asset": ("S7", 297),
    "security_type": ("S7", 311),
    "underlying": ("S21", 349),
    "instrument_class": ("S1", 374),
    "security_update_action": ("S1", 382),
    "user_defined_instrument": ("S1", 386),
    "tick_rule": ("u1", 389),
}
_V3: Final[Fields] = {
    "unit_of_measure_qty": ("<i8", 80),
    "strike_price": ("<i8", 104),
    "underlying_id": ("<u4", 140),
    "leg_instrument_id": ("<u4", 188),
    "leg_ratio_qty_numerator": ("<i4", 200),
    "leg_ratio_qty_denominator": ("<i4", 204),
    "leg_underlying_id": ("<u4", 208),
    "leg_count": ("<u2", 220),
    "leg_index": ("<u2", 222),
    "raw_symbol": ("S71", 238),
    "asset": ("S11", 335),
    "security_type": ("S7", 353),
    "underlying": ("S21", 391),
    "leg_raw_symbol": ("S71", 416),
    "instrument_class": ("S1", 487),
    "security_update_action": ("S1", 493),
    "user_defined_instrument": ("S1", 497),
    "tick_rule": ("u1", 500),
    "leg_instrument_class": ("S1", 501),
    "leg_side": ("S1", 502),
}
_FIELDS: Final = {1: _ALL | _V1, 2: _ALL | _V2, 3: _ALL | _V3}
_BYTES: Final = {1: 360, 2: 400, 3: 520}

_STATUS: Final = np.dtype(
    {
        "names": ["instrument_id", "ts_event", "ts_recv", "action", "reason", "trading_event"],
        "formats": ["<u4", "<u8", "<u8", "<u2", "<u2", "<u2"],
        "offsets": [4, 8, 16, 24, 26, 28],
        "itemsize": 40,
    }
)
_STATUS_IS_TRADING: Final = 30
_MAPPING_BYTES: Final = {1: 80, 2: 176, 3: 176}
_STYPE_INSTRUMENT_ID: Final = 0

_DAY_NS: Final = 86_400_000_000_000
_TIME_MAX: Final = 2**63 - 1
_KINDS: Final = {
    "C": KIND_CALL,
    "P": KIND_PUT,
    "F": KIND_FUTURE,
    "S": KIND_SPREAD,
    "T": KIND_SPREAD,
    "M": KIND_SPREAD,
}


class Leg(msgspec.Struct, frozen=True):
    """One leg of a spread; `ratio` contracts on `side` for each contract of the spread."""

    index: int
    instrument_id: int
    symbol: str
    kind: int  # KIND_*
    side: str  # B bought, A sold, N not said
    ratio_numerator: int
    ratio_denominator: int
    underlying_id: int


class Definition(msgspec.Struct, frozen=True):
    """What a venue says an instrument id means.

    Times are ns UTC, -1 where the wire says UNDEF; prices at 1e-9, UNDEF_PRICE if undefined.
    """

    instrument_id: int
    raw_symbol: str
    kind: int  # KIND_*
    instrument_class: str  # the wire's letter
    strike_1e9: int  # UNDEF_PRICE for all but options
    expiration_ns: int
    underlying: str
    underlying_id: int
    asset: str  # the venue's product: NQ, Q2A, EW2 and so on
    security_update_action: str  # A, M or D
    user_defined: bool
    min_price_increment_1e9: int  # UNDEF_PRICE for a variable tick: see tick_rule
    tick_rule: int
    unit_of_measure_qty_1e9: int  # currency a point, times 1e9
    ts_event_ns: int
    ts_recv_ns: int
    leg_count: int = 0
    legs: tuple[Leg, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """A change of an instrument's trading state."""

    instrument_id: int
    action: int
    reason: int
    trading_event: int
    is_trading: str  # Y, N or ~ (not said)
    ts_event_ns: int
    ts_recv_ns: int


class SymbolMapping(msgspec.Struct, frozen=True):
    """What a live gateway calls an id; `symbol` is the raw symbol, empty if it isn't in there."""

    instrument_id: int
    symbol: str
    stype_in_symbol: str
    stype_out_symbol: str
    start_ns: int
    end_ns: int
    ts_event_ns: int


def definition_fields(version: int) -> dict[str, tuple[str, int]]:
    """Return numpy format and byte offset of each definition field read, by name."""
    if version not in _FIELDS:
        raise FormatError(f"Definitions are read from DBN 1 to 3, version was {version}.")
    return dict(_FIELDS[version])


def decode_definitions(records: Sequence[bytes], version: int) -> list[Definition]:
    """Decode definition records, joining the one-record-per-leg of a spread into one.

    Parameters
    ----------
    records
        Whole records of type 0x13, n of them, each of one size.
    version
        The stream's DBN version, 1 to 3.

    Raises
    ------
    FormatError
        Another version, or records too short for it.
    """
    if not records:
        return []
    array = _as_array(records, version)
    definitions = _definitions(array)
    if version < 3 or not array["leg_count"].any():
        return definitions
    return _join_legs(definitions)


def check_definitions_day(
    definitions: Sequence[Definition], start_ns: int, end_ns: int, name: str = "definitions"
) -> list[Definition]:
    """Return the definitions that hold for data of [start_ns, end_ns), in their order.

    An id's meaning holds for a day. A definition counts by the UTC day of its capture: any day
    the data touch, or the one before their first. A session opens at 22:00 or 23:00 UTC of the
    day before its trade date, and the venue sends that session's definitions ahead of the open.
    Friday's do not reach over a weekend: Sunday's open has definitions of its own.

    Raises
    ------
    SchemaError
        There are definitions, and none is of such a day; the message names both days.
    """
    first, last = start_ns // _DAY_NS - 1, max(end_ns - 1, start_ns) // _DAY_NS
    days = [_captured_ns(one) // _DAY_NS for one in definitions]
    kept = [one for one, day in zip(definitions, days, strict=True) if first <= day <= last]
    if definitions and not kept:
        raise SchemaError(
            f"{name}: definitions of {_span(min(days), max(days))}, but the data are of "
            f"{_span(first + 1, last)}, and an instrument id means something for a day only. "
            f"Give the definitions of {_span(first + 1, first + 1)}."
        )
    return kept


def decode_status(record: bytes) -> Status:
    """Decode one status record of any version."""
    _check_length(record, _STATUS.itemsize, "Status")
    row = np.frombuffer(record, _STATUS, count=1)[0]
    return Status(
        instrument_id=int(row["instrument_id"]),
        action=int(row["action"]),
        reason=int(row["reason"]),
        trading_event=int(row["trading_event"]),
        is_trading=chr(record[_STATUS_IS_TRADING]),
        ts_event_ns=_time(int(row["ts_event"])),
        ts_recv_ns=_time(int(row["ts_recv"])),
    )


def decode_mapping(record: bytes, version: int) -> SymbolMapping:
    """Decode one symbol mapping record."""
    if version not in _MAPPING_BYTES:
        raise FormatError(f"Symbol mappings are read from DBN 1 to 3, version was {version}.")
    size = _MAPPING_BYTES[version]
    _check_length(record, size, "Symbol mapping")
    if version == 1:
        given, symbol, by_id = _text(record[16:38]), _text(record[38:60]), False
    else:
        given, symbol = _text(record[17:88]), _text(record[89:160])
        by_id = record[88] == _STYPE_INSTRUMENT_ID  # then the wanted name is what was asked for
    number = int.from_bytes
    return SymbolMapping(
        instrument_id=number(record[4:8], "little"),
        symbol=given if by_id else symbol,
        stype_in_symbol=given,
        stype_out_symbol=symbol,
        start_ns=_time(number(record[size - 16 : size - 8], "little")),
        end_ns=_time(number(record[size - 8 : size], "little")),
        ts_event_ns=_time(number(record[8:16], "little")),
    )


def _as_array(records: Sequence[bytes], version: int) -> Records:
    size = len(records[0])
    if size < _BYTES.get(version, 0) or any(len(record) != size for record in records):
        bad = next((len(one) for one in records if len(one) != size), size)
        raise FormatError(
            f"Definition records of DBN {version} have {_BYTES[version]} bytes, was {bad}."
        )
    return np.frombuffer(b"".join(records), _dtype(version, size))


@functools.lru_cache(maxsize=8)
def _dtype(version: int, size: int) -> np.dtype[Any]:
    fields = definition_fields(version)
    return np.dtype(
        {
            "names": list(fields),
            "formats": [form for form, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": size,  # with ts_out, eight more
        }
    )


def _column(array: Records, name: str) -> list[Any]:
    values = array[name]
    if values.dtype.kind == "S":
        return [_text(value) for value in values.tolist()]
    if values.dtype == np.dtype("<u8"):
        values = np.where(values > _TIME_MAX, -1, values.astype(np.int64))
    return cast("list[Any]", values.tolist())


def _definitions(array: Records) -> list[Definition]:
    """Build all at once from columns: 3 us a record, 11 us from a dictionary of each."""
    letters = _column(array, "instrument_class")
    kinds = [_KINDS.get(letter, KIND_UNKNOWN) for letter in letters]
    is_option = np.isin(kinds, [KIND_CALL, KIND_PUT])
    columns = (
        _column(array, "instrument_id"),
        _column(array, "raw_symbol"),
        kinds,
        letters,
        np.where(is_option, array["strike_price"], UNDEF_PRICE).tolist(),
        _column(array, "expiration"),
        _column(array, "underlying"),
        _column(array, "underlying_id"),
        _column(array, "asset"),
        _column(array, "security_update_action"),
        (array["user_defined_instrument"] == b"Y").tolist(),
        _column(array, "min_price_increment"),
        _column(array, "tick_rule"),
        _column(array, "unit_of_measure_qty"),
        _column(array, "ts_event"),
        _column(array, "ts_recv"),
    )
    if "leg_count" not in (array.dtype.names or ()):
        return list(map(Definition, *columns))
    counts = _column(array, "leg_count")
    legs = [(_leg(row),) if count else () for row, count in zip(array, counts, strict=True)]
    return list(map(Definition, *columns, counts, legs))


def _leg(row: Any) -> Leg:
    return Leg(
        index=int(row["leg_index"]),
        instrument_id=int(row["leg_instrument_id"]),
        symbol=_text(row["leg_raw_symbol"]),
        kind=_KINDS.get(_text(row["leg_instrument_class"]), KIND_UNKNOWN),
        side=_text(row["leg_side"]),
        ratio_numerator=int(row["leg_ratio_qty_numerator"]),
        ratio_denominator=int(row["leg_ratio_qty_denominator"]),
        underlying_id=int(row["leg_underlying_id"]),
    )


def _join_legs(definitions: list[Definition]) -> list[Definition]:
    """Put the legs of one spread's records, wherever they lie, into its first record."""
    joined: dict[Any, Definition] = {}
    for position, one in enumerate(definitions):
        key: Any = position
        if one.leg_count:
            key = (one.instrument_id, one.raw_symbol, one.security_update_action)
            key += (one.ts_event_ns, one.ts_recv_ns)
        first = joined.get(key)
        if first is not None:
            legs = {leg.index: leg for leg in (*first.legs, *one.legs)}
            together = tuple(legs[index] for index in sorted(legs))
            joined[key] = msgspec.structs.replace(first, legs=together)
        else:
            joined[key] = one
    return list(joined.values())


def _check_length(record: bytes, size: int, what: str) -> None:
    if len(record) < size:
        raise FormatError(f"{what} records have {size} bytes, was {len(record)}.")


def _text(value: bytes) -> str:
    whole = value if b"\0" not in value else value[: value.index(b"\0")]
    return whole.decode("ascii", "replace")


def _time(value: int) -> int:
    return value if value <= _TIME_MAX else -1


def _captured_ns(definition: Definition) -> int:
    return definition.ts_recv_ns if definition.ts_recv_ns >= 0 else definition.ts_event_ns


def _span(first_day: int, last_day: int) -> str:
    epoch = dt.date(1970, 1, 1)
    first, last = (epoch + dt.timedelta(day) for day in (first_day, last_day))
    return str(first) if first == last else f"{first} to {last}"
