"""The DBN writer: what it writes, databento reads, field by field; a failure leaves no file."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import databento_dbn as dbn
import pytest
from databento import DBNStore

from ifd_fast.dbnwriter import DbnWriter, encode_definitions, encode_header
from ifd_fast.optionchain import Listing, list_chain

DAY = dt.date(2026, 3, 10)
NOON_NS = 1_773_144_000_000_000_000


def chain() -> list[Listing]:
    """Return a small chain with spreads."""
    return list_chain(DAY, ["day+0", "quarter"], 5, 25.0, 21_000.0, 8)


def write_definitions(folder: Path) -> Path:
    """Write the chain's definition file."""
    path = folder / "x.definition.dbn.zst"
    with DbnWriter(path, encode_header("definition", chain(), NOON_NS, NOON_NS + 1, DAY)) as file:
        file.write(encode_definitions(chain(), NOON_NS))
    return path


def test_definitions_are_read_back(tmp_path: Path) -> None:
    """Every field of an outright that the decoder of definitions needs comes back."""
    records: list[Any] = list(DBNStore.from_bytes(write_definitions(tmp_path).read_bytes()))
    by_symbol = {record.raw_symbol: record for record in records}
    future, option = by_symbol["NQH6"], by_symbol["NQH6 C21000"]
    assert isinstance(option, dbn.InstrumentDefMsg)
    assert option.record_size() == 520
    assert (str(option.instrument_class), option.security_type, option.asset) == ("C", "OOF", "NQ")
    assert option.strike_price == 21_000 * 10**9
    assert option.underlying == "NQH6"
    assert option.underlying_id == future.instrument_id
    assert option.unit_of_measure_qty == 20 * 10**9
    assert option.tick_rule == 17
    assert option.min_price_increment == 2**63 - 1
    assert option.expiration > NOON_NS
    assert str(future.instrument_class) == "F"
    assert future.min_price_increment == 250_000_000
    assert future.strike_price == 2**63 - 1


def test_a_spread_has_a_record_for_each_leg(tmp_path: Path) -> None:
    """Spreads are user-defined, of class T, without a strike, and name their legs."""
    records: list[Any] = list(DBNStore.from_bytes(write_definitions(tmp_path).read_bytes()))
    ids = {record.instrument_id for record in records}
    spreads = [record for record in records if record.leg_count]
    assert len(spreads) == 16
    for record in spreads:
        assert str(record.instrument_class) == "T"
        assert str(record.user_defined_instrument) == "Y"
        assert record.strike_price == 2**63 - 1
        assert record.leg_instrument_id in ids
        assert record.raw_symbol.startswith("UD:1V: ")
    assert sorted(record.leg_index for record in spreads[:2]) == [0, 1]


def test_metadata_maps_every_symbol(tmp_path: Path) -> None:
    """The header is version 3 and says which id each symbol is on the trade date."""
    store = DBNStore.from_bytes(write_definitions(tmp_path).read_bytes())
    assert store.metadata.version == 3
    assert store.metadata.dataset == "GLBX.MDP3"
    mappings = store.metadata.mappings
    assert len(mappings) == len(chain())
    for listing in chain():
        (interval,) = mappings[listing.symbol]
        assert interval["symbol"] == str(listing.instrument_id)
        assert interval["start_date"] <= DAY < interval["end_date"]


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    """An error while writing leaves neither a file that looks whole nor its pieces."""
    writer = DbnWriter(tmp_path / "x.mbo.dbn.zst", b"DBN\x03")

    def fail() -> None:
        with writer:
            writer.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    """Until the writer is closed, the name is not there."""
    path = tmp_path / "x.mbo.dbn"
    with DbnWriter(path, b"DBN\x03") as writer:
        assert not path.exists()
        writer.write(b"1234")
    assert path.read_bytes() == b"DBN\x031234"
    assert writer.bytes_raw == 8
