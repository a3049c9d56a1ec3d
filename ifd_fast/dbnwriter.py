"""Genuine DBN files, version 3: header, definitions, and records as a kernel leaves them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Self, cast

import zstandard

from ifd_fast.optionchain import Listing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DbnWriter", "Interval", "Mapping", "encode_definitions", "encode_header"]

DATASET: Final = "GLBX.MDP3"
VERSION: Final = 3
POINT_1E9: Final = 1_000_000_000
COMPRESSION_LEVEL: Final = 3
CFI: Final = {"F": "FFIXSX", "C": "OCAFPS", "P": "OPAFPS", "T": "OMXFPS", "M": "OMXFXS"}


class Interval(NamedTuple):
    """Days on which a symbol means one instrument id, [start_date, end_date)."""

    start_date: dt.date
    end_date: dt.date
    symbol: str


class Mapping(NamedTuple):
    """A symbol and the ids it had."""

    raw_symbol: str
    intervals: list[Interval]


def encode_header(
    schema: str,
    chain: list[Listing],
    start_ns: int,
    end_ns: int,
    trade_date: dt.date,
    limit: int | None = None,
) -> bytes:
    """Return the metadata of a file: every symbol of `chain`, mapped on that day.

    `limit`: records the file was cut at. A reader then takes no more than they cover as observed.
    """
    import databento_dbn as dbn

    day = dt.timedelta(days=1)
    first = min(dt.datetime.fromtimestamp(start_ns // POINT_1E9, dt.UTC).date(), trade_date)
    mappings = [
        Mapping(
            raw_symbol=listing.symbol,
            intervals=[Interval(first, trade_date + day, str(listing.instrument_id))],
        )
        for listing in chain
    ]
    metadata = dbn.Metadata(
        dataset=DATASET,
        start=start_ns,
        end=end_ns,
        limit=limit,
        stype_in=dbn.SType.from_str("raw_symbol"),
        stype_out=dbn.SType.from_str("instrument_id"),
        schema=dbn.Schema.from_str(schema),
        symbols=[listing.symbol for listing in chain],
        mappings=cast("list[Any]", mappings),  # the library asks for a shape, not a class
        ts_out=False,
        version=VERSION,
    )
    return bytes(metadata)


def _common_fields(listing: Listing, ts_event_ns: int) -> dict[str, Any]:
    import databento_dbn as dbn

    expiry = dt.datetime.fromtimestamp(listing.expiration_ns // POINT_1E9, dt.UTC)
    is_future = listing.instrument_class == "F"
    user_defined = listing.instrument_class in "TM"
    variable_tick = listing.instrument_class in "CP"
    flag = dbn.UserDefinedInstrument.YES if user_defined else dbn.UserDefinedInstrument.NO
    tick_1e9 = 250_000_000 if is_future else 50_000_000
    return {
        "publisher_id": 1,
        "instrument_id": listing.instrument_id,
        "ts_event": ts_event_ns,
        "ts_recv": ts_event_ns,
        "min_price_increment": 2**63 - 1 if variable_tick else tick_1e9,
        "display_factor": 10_000_000,
        "raw_symbol": listing.symbol,
        "asset": listing.asset,
        "security_type": {"F": "FUT", "M": "MLEG"}.get(listing.instrument_class, "OOF"),
        "instrument_class": dbn.InstrumentClass(listing.instrument_class),
        "security_update_action": dbn.SecurityUpdateAction.ADD,
        "expiration": listing.expiration_ns,
        "activation": listing.expiration_ns - 180 * 86_400 * POINT_1E9,
        "unit_of_measure_qty": 20 * POINT_1E9,
        "strike_price": round(listing.strike * POINT_1E9) if listing.strike else 2**63 - 1,
        "raw_instrument_id": listing.instrument_id,
        "underlying_id": listing.underlying_id,
        "underlying": "" if user_defined else listing.underlying,
        "min_trade_vol": 1,
        "max_trade_vol": 3000,
        "maturity_year": expiry.year,
        "maturity_month": expiry.month,
        "channel_id": 0,
        "currency": "USD",
        "strike_price_currency": "USD" if listing.strike else "",
        "secsubtype": listing.symbol.split()[1] if user_defined else "",
        "group": "1V" if user_defined else listing.asset,
        "exchange": "XCME",
        "cfi": CFI[listing.instrument_class],
        "unit_of_measure": "IPNT",
        "match_algorithm": dbn.MatchAlgorithm.FIFO,
        "user_defined_instrument": flag,
        "tick_rule": 17 if variable_tick else None,
    }


def encode_definitions(chain: list[Listing], ts_event_ns: int) -> bytes:
    """Return the definition records of `chain`; a spread has one for each of its legs."""
    import databento_dbn as dbn

    records: list[bytes] = []
    for listing in chain:
        fields = _common_fields(listing, ts_event_ns)
        if not listing.legs:
            records.append(bytes(dbn.InstrumentDefMsg(**fields)))
        for number, (place, side) in enumerate(listing.legs):
            leg = chain[place]
            message = dbn.InstrumentDefMsg(
                **fields,
                leg_count=len(listing.legs),
                leg_index=number,
                leg_instrument_id=leg.instrument_id,
                leg_raw_symbol=leg.symbol,
                leg_instrument_class=dbn.InstrumentClass(leg.instrument_class),
                leg_side=dbn.Side(side),
                leg_ratio_qty_numerator=1,
                leg_ratio_qty_denominator=1,
                leg_underlying_id=leg.underlying_id,
            )
            records.append(bytes(message))
    # Python's message reserves room for ts_out; its length byte says what belongs to the record.
    return b"".join(record[: record[0] * 4] for record in records)


class DbnWriter:
    """A DBN file that is whole or absent: written aside, renamed on leaving without an error.

    Its compression has one thread, so that the same records give the same bytes.
    """

    def __init__(self, path: Path, header: bytes) -> None:
        self.path = path
        self.bytes_raw = 0
        self._header = header
        self._aside = path.with_name(f".{path.name}.part")
        self._file: IO[bytes] | None = None
        self._stream: Any = None

    def __enter__(self) -> Self:
        self._file = self._aside.open("wb")
        self._stream = self._file
        if self.path.suffix == ".zst":
            compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL, write_checksum=True)
            self._stream = compressor.stream_writer(self._file, closefd=False)
        self.write(self._header)
        return self

    def write(self, data: bytes | NDArray[np.int64]) -> None:
        """Append bytes, or an array of whole records, which is not copied."""
        view = data if isinstance(data, bytes) else memoryview(data.data).cast("B")
        self.bytes_raw += len(view)
        self._stream.write(view)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is None:
            return
        if kind is not None:
            self._file.close()
            self._aside.unlink(missing_ok=True)
            return
        if self._stream is not self._file:
            self._stream.close()
        self._file.close()
        self._aside.replace(self.path)
