"""Digests of rows: the canonical bytes, value by value, whatever the frames they came in."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.digests import RowDigest
from ifd_fast.rows import WINDOW_SCHEMA
from ifd_kernels.digest import pack_fixed, pack_text
from tests.oracle import digest as oracle

EPOCH = dt.date(1970, 1, 1)
_i64 = st.integers(-(2**63), 2**63 - 1)
_f64 = st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, float("inf")])
_text = st.text(st.characters(codec="utf-8"), max_size=12)
_values = {
    "i64": _i64,
    "u32": st.integers(0, 2**32 - 1),
    "i32": st.integers(-(10**6), 10**6),
    "f64": _f64,
    "text": _text,
}


def kind_of(name: str) -> str:
    """Return the oracle's kind of a window's column."""
    dtype = WINDOW_SCHEMA[name]
    kinds = {pl.UInt32(): "u32", pl.String(): "text", pl.Float64(): "f64", pl.Date(): "i32"}
    return kinds.get(dtype, "i64")


KINDS = {name: kind_of(name) for name in WINDOW_SCHEMA}
FACTS = [name for name, kind in KINDS.items() if kind != "f64" and name != "quality"]
_rows = st.lists(st.tuples(*[st.none() | _values[kind] for kind in KINDS.values()]), max_size=12)


def as_frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    """Return rows of plain values as a frame of windows."""
    columns = dict(zip(KINDS, zip(*rows, strict=True), strict=True)) if rows else {}
    physical = {"i64": pl.Int64, "u32": pl.UInt32, "i32": pl.Int32, "f64": pl.Float64}
    series = [
        pl.Series(name, columns.get(name, ()), physical.get(kind, pl.String)).cast(
            WINDOW_SCHEMA[name]
        )
        for name, kind in KINDS.items()
    ]
    return pl.DataFrame(series)


@given(_rows, st.integers(0, 12))
def test_digests_are_those_of_the_contract(rows: list[tuple[Any, ...]], cut: int) -> None:
    """Both digests are those of plain packing, in one frame or in two."""
    digest = RowDigest()
    for part in (rows[:cut], rows[cut:]):
        digest.update(as_frame(part))
    assert digest.row_count == len(rows)
    assert digest.rows_digest == oracle.digest_rows(list(KINDS.values()), rows)
    places = [list(KINDS).index(name) for name in FACTS]
    facts = [tuple(row[place] for place in places) for row in rows]
    assert digest.facts_digest == oracle.digest_rows([KINDS[name] for name in FACTS], facts)


def test_facts_leave_out_floats_and_quality() -> None:
    """The facts are integers, times and texts, as design §8 lists them."""
    left_out = [name for name in WINDOW_SCHEMA if name not in FACTS]
    expected = ["strike", "pressure_ratio", "avg_trade_size", "confidence", "bid_price"]
    assert left_out == [*expected, "ask_price", "underlying_price", "quality"]


def test_an_empty_set_has_no_digest() -> None:
    """Without rows there is nothing to compare."""
    digest = RowDigest()
    digest.update(as_frame([]))
    assert digest.rows_digest is None
    assert digest.facts_digest is None


def test_negative_zero_counts_as_zero() -> None:
    """A zero's sign changes no digest; a null and a zero differ."""
    found = []
    for value in (0.0, -0.0, None):
        digest = RowDigest()
        row = tuple(value if name == "strike" else None for name in KINDS)
        digest.update(as_frame([row]))
        found.append(digest.rows_digest)
    assert found[0] == found[1] != found[2]


@given(st.lists(st.none() | _i64, max_size=20))
def test_pack_fixed_is_plain_packing(values: list[int | None]) -> None:
    """Each number is a null byte and eight bytes; a null is its byte alone."""
    whole = np.array([value or 0 for value in values], "<i8").view(np.uint8)
    nulls = np.array([value is None for value in values], bool)
    packed = [oracle.pack_value("i64", value) for value in values]
    out, cursor = np.zeros(sum(map(len, packed)), np.uint8), starts(packed)
    pack_fixed(whole.reshape(len(values), 8), nulls, cursor, out)
    assert out.tobytes() == b"".join(packed)


@given(st.lists(st.none() | _text, max_size=20))
def test_pack_text_is_plain_packing(values: list[str | None]) -> None:
    """Each text is a null byte, its length and its UTF-8; a null is its byte alone."""
    whole = [(value or "").encode() for value in values]
    edges = np.cumsum([0, *map(len, whole)]).astype(np.int64)
    nulls = np.array([value is None for value in values], bool)
    packed = [oracle.pack_value("text", value) for value in values]
    out, cursor = np.zeros(sum(map(len, packed)), np.uint8), starts(packed)
    text = np.frombuffer(bytearray(b"".join(whole)), np.uint8)
    pack_text(text, edges, nulls, cursor, out)
    assert out.tobytes() == b"".join(packed)


def starts(packed: list[bytes]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return where each value begins, (n,)."""
    edges: np.ndarray[tuple[int], np.dtype[np.int64]] = np.cumsum([0, *map(len, packed)])
    return edges[:-1].astype(np.int64)
