"""Records that a live gateway itself makes: header, mappings, system messages, errors.

All in DBN 3. Times are those of the market served, never a clock's.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = [
    "Listed",
    "encode_error",
    "encode_live_header",
    "encode_mapping",
    "encode_system",
]

UNDEF_TIME: Final = 2**64 - 1


class Listed(NamedTuple):
    """One instrument as the gateway knows it."""

    instrument_id: int
    symbol: str
    parent: str  # such as NQ.OPT; empty: unknown


def encode_live_header(dataset: str, start_ns: int, *, ts_out: bool) -> bytes:
    """Return the metadata that every live session begins with: no schema, no symbols."""
    import databento_dbn as dbn

    metadata = dbn.Metadata(
        dataset=dataset,
        start=start_ns,
        stype_in=None,
        stype_out=dbn.SType.from_str("instrument_id"),
        schema=None,
        ts_out=ts_out,
        version=3,
    )
    return bytes(metadata)


def encode_mapping(listed: Listed, stype_in: str, requested: str, ts_ns: int) -> bytes:
    """Return the record that says which id a requested symbol brings."""
    import databento_dbn as dbn

    message = dbn.SymbolMappingMsg(
        publisher_id=0,
        instrument_id=listed.instrument_id,
        ts_event=ts_ns,
        stype_in=dbn.SType.from_str(stype_in),
        stype_in_symbol=requested,
        stype_out=dbn.SType.from_str("raw_symbol"),
        stype_out_symbol=listed.symbol,
        start_ts=UNDEF_TIME,
        end_ts=UNDEF_TIME,
    )
    return _cut(bytes(message))


def encode_system(ts_ns: int, code: int, text: str) -> bytes:
    """Return a system message; `code` as in databento_dbn.SystemCode."""
    import databento_dbn as dbn

    return _cut(bytes(dbn.SystemMsg(ts_ns, text, code=dbn.SystemCode.from_int(code))))


def encode_error(ts_ns: int, code: int, text: str, *, is_last: bool = True) -> bytes:
    """Return an error record; `code` as in databento_dbn.ErrorCode."""
    import databento_dbn as dbn

    message = dbn.ErrorMsg(ts_ns, text, is_last=is_last, code=dbn.ErrorCode.from_int(code))
    return _cut(bytes(message))


def _cut(record: bytes) -> bytes:
    """Return the record without the room that Python's messages reserve for ts_out."""
    return record[: record[0] * 4]
