"""SHA-256 over rows, as the contract defines it: the proof that two runs found the same.

Rows are sorted by (window_end, instrument_id); columns stand in contract order; each value is a
byte that says null or not, then its bytes (`ifd_kernels.digest`). Negative zero counts as zero.
`rows_digest` covers all columns; `facts_digest` the integer, time and text columns but quality.
Signals have a digest of their own, over their rows in order of time: all columns but `code_digest`,
so that other code which finds the same has the same.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ifd_kernels.digest import pack_fixed, pack_text

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

__all__ = ["FactsDigest", "RowDigest", "RunDigests", "SignalDigest"]

_FLAG_BYTES: Final = 1
_LENGTH_BYTES: Final = 4


class _Column(NamedTuple):
    """One column of a frame of n rows, as bytes; either `values` or `text`."""

    is_null: NDArray[np.bool_]  # (n,)
    sizes: NDArray[np.int64]  # (n,) bytes of each value, without the byte that says null or not
    values: NDArray[np.uint8] | None  # (n, w)
    text: tuple[NDArray[np.uint8], NDArray[np.int64]] | None  # all of it, edges (n + 1,)


class FactsDigest:
    """The facts digest of a growing set of rows; `update` takes frames in order of their rows."""

    def __init__(self) -> None:
        """Begin with no rows."""
        self._facts = hashlib.sha256()
        self.row_count = 0

    def update(self, frame: pl.DataFrame) -> None:
        """Add the rows of `frame`, whose columns are those of a window row or of a fact."""
        if frame.height:
            self._add(frame.height, [_column(one) for one in frame if _is_fact(one)])

    def _add(self, rows: int, columns: list[_Column]) -> None:
        self.row_count += rows
        self._facts.update(_pack(rows, columns))

    @property
    def facts_digest(self) -> str | None:
        """The digest of integer, time and text columns but quality, or None without rows."""
        return self._facts.hexdigest() if self.row_count else None


class RowDigest(FactsDigest):
    """Both digests of a growing set of rows; an empty set has none (None)."""

    def __init__(self) -> None:
        """Begin with no rows."""
        super().__init__()
        self._rows = hashlib.sha256()

    def update(self, frame: pl.DataFrame) -> None:
        """Add the rows of `frame`, whose columns are those of a window row in order."""
        if frame.height:
            columns = [_column(one) for one in frame]
            is_fact = map(_is_fact, frame)
            self._add(frame.height, [c for c, fact in zip(columns, is_fact, strict=True) if fact])
            self._rows.update(_pack(frame.height, columns))

    @property
    def rows_digest(self) -> str | None:
        """The digest of all columns, 64 hex digits, or None without rows."""
        return self._rows.hexdigest() if self.row_count else None


class SignalDigest:
    """The digest of a growing set of signals; `update` takes frames in order of time."""

    def __init__(self) -> None:
        """Begin with no signals."""
        self._signals = hashlib.sha256()
        self.row_count = 0

    def update(self, frame: pl.DataFrame) -> None:
        """Add the rows of `frame`, whose columns are those of a signal in order."""
        self.row_count += frame.height
        if frame.height:
            columns = [_column(one) for one in frame if one.name != "code_digest"]
            self._signals.update(_pack(frame.height, columns))

    @property
    def signals_digest(self) -> str | None:
        """The digest, 64 hex digits, or None without signals."""
        return self._signals.hexdigest() if self.row_count else None


class RunDigests:
    """The digests that a run is known by; `update` takes each of its frames by name, in order."""

    def __init__(self) -> None:
        """Begin with nothing found."""
        self._windows = RowDigest()
        self._signals = SignalDigest()

    @property
    def window_count(self) -> int:
        """Window rows so far."""
        return self._windows.row_count

    @property
    def found(self) -> dict[str, str | None]:
        """The digests of window rows and signals so far, by name."""
        return {
            "rows_digest": self._windows.rows_digest,
            "facts_digest": self._windows.facts_digest,
            "signals_digest": self._signals.signals_digest,
        }

    def update(self, name: str, frame: pl.DataFrame) -> None:
        """Add a frame of `windows` or `signals`; others are no part of a run's digests."""
        if name == "windows":
            self._windows.update(frame)
        elif name == "signals":
            self._signals.update(frame)


def _is_fact(column: pl.Series) -> bool:
    return column.name != "quality" and not column.dtype.is_float()


def _column(column: pl.Series) -> _Column:
    """Return a column's bytes and where it is null."""
    import polars as pl

    if column.null_count():
        is_null = column.is_null().to_numpy()
    else:
        is_null = np.zeros(len(column), np.bool_)
    if column.dtype == pl.String:
        text, edges = _text_bytes(column)
        sizes = np.where(is_null, 0, _LENGTH_BYTES + np.diff(edges))
        return _Column(is_null, sizes, None, (text, edges))
    values = _value_bytes(column)
    return _Column(is_null, np.where(is_null, 0, values.shape[1]), values, None)


def _pack(rows: int, columns: list[_Column]) -> memoryview:
    """Return the canonical bytes of the columns, row by row."""
    sizes = np.full(rows, _FLAG_BYTES * len(columns), np.int64)
    for column in columns:
        sizes += column.sizes
    cursor = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    out = np.empty(int(cursor[-1]), np.uint8)
    cursor = cursor[:-1].copy()
    for column in columns:
        if column.values is not None:
            pack_fixed(column.values, column.is_null, cursor, out)
        elif column.text is not None:
            pack_text(*column.text, column.is_null, cursor, out)
    return out.data


def _value_bytes(column: pl.Series) -> NDArray[np.uint8]:
    """Return a numeric, time or truth column as little-endian bytes (n, w); nulls are zero."""
    import polars as pl

    physical = column.cast(pl.UInt8) if column.dtype == pl.Boolean else column.to_physical()
    values = (physical.fill_null(0) if column.null_count() else physical).to_numpy()
    if values.dtype.kind == "f":
        values = values + 0.0  # makes -0.0 a 0.0; in place would too, but read-only
    values = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    return values.view(np.uint8).reshape(len(values), values.dtype.itemsize).copy()


def _text_bytes(column: pl.Series) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return a text column as one run of UTF-8 bytes and the edges (n + 1,) of its values."""
    values = [text or "" for text in column.to_list()]
    joined = "".join(values).encode()
    edges = np.zeros(len(values) + 1, np.int64)
    np.cumsum(column.str.len_bytes().fill_null(0).to_numpy(), out=edges[1:])
    return np.frombuffer(joined, np.uint8).copy(), edges
