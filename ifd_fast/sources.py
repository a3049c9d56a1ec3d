"""Files of recorded market data as a header and a stream of buffers, in constant memory.

A `.dbn` file is read into one buffer again and again. A `.dbn.zst` file is decompressed by a
second thread (zstd runs without the interpreter lock) into a few buffers that go round, so that
replay takes as long as the slower of the two.
"""

from __future__ import annotations

import io
import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ifd_fast.decompression import SKIPPABLE_MAGIC, ZSTD_MAGIC, ZstdChunks
from ifd_fast.errors import DataError, FormatError, SchemaError, UsageError
from ifd_fast.header import DBZ_REFUSAL, Header, HeaderReader

__all__ = [
    "Mapping",
    "Metadata",
    "Source",
    "decode_metadata",
    "open_source",
    "require_schema",
]

Bytes: TypeAlias = NDArray[np.uint8]

# One buffer of 2 MiB. What Python does between two chunks meets cold caches: of a replay's CPU,
# 1 MiB takes 4 % more, 512 KiB 3 %.
RAW_CHUNK_BYTES: Final = 1 << 21
# Decompression goes round four buffers. It is quickest where they fit the second cache together
# (47 ns a record with 256 KiB each, 52 with 1 MiB), but replay is the slower of the two threads:
# of its CPU, 256 KiB take 15 % more than 1 MiB, 512 KiB 4 % more, 2 MiB 5 % less, 4 MiB 7 % less.
ZSTD_CHUNK_BYTES: Final = 1 << 21


@dataclass(frozen=True, slots=True)
class Mapping:
    """What a symbol of the request meant on the days [start_date, end_date), ISO dates."""

    start_date: str
    end_date: str
    symbol: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """The decoded header; None where the file says nothing (a live capture, an open end)."""

    version: int
    ts_out: bool
    dataset: str
    schema: str | None
    stype_in: str | None
    stype_out: str | None
    start_ns: int
    end_ns: int | None
    limit: int | None
    symbols: tuple[str, ...]
    partial: tuple[str, ...]
    not_found: tuple[str, ...]
    mappings: dict[str, tuple[Mapping, ...]] = field(default_factory=dict)


def open_source(source: object, *, chunk_bytes: int | None = None) -> Source:
    """Open a `.dbn` or `.dbn.zst` file, told apart by content, and read its header.

    Parameters
    ----------
    source
        A path, a binary file object, or a `databento.DBNStore`.
    chunk_bytes
        Size of the buffers that `Source.chunks` goes round with; None: what measured best.

    Raises
    ------
    DataError
        No such file, a folder, no permission, an unreadable or empty file.
    FormatError, TruncatedError
        Not DBN 1 to 3, damaged, or ended inside the header.
    """
    file, name = _open_file(source)
    try:
        return Source(file, name, chunk_bytes)
    except BaseException:
        file.close()
        raise


def require_schema(source: Source, *schemas: str) -> None:
    """Raise SchemaError unless `source` holds one of `schemas`, or a live mix (no schema)."""
    schema = source.metadata.schema
    if schema is not None and schema not in schemas:
        wanted = " or ".join(schemas)
        raise SchemaError(
            f"{source.name}: holds schema {schema!r}, {wanted} is needed. "
            f"Download the {wanted} schema of {source.metadata.dataset}."
        )


class Source:
    """One open recording; iterate `chunks()` once, then close it (or use `with`).

    Attributes
    ----------
    name
        What messages call it: the path where there is one.
    header
        Version, ts_out and the encoded metadata; records start at byte len(header.data) of the
        decompressed stream.
    bytes_total, bytes_read
        Size of the file and how far it is read, both as stored (compressed): for a progress bar.
    """

    def __init__(self, file: BinaryIO, name: str, chunk_bytes: int | None = None) -> None:
        self.name = name
        self.bytes_total = _file_bytes(file, name)
        self._file = file
        self._chunk_bytes = chunk_bytes or RAW_CHUNK_BYTES
        self._zstd: ZstdChunks | None = None
        self._read = 0
        self._taken = False
        self._metadata: Metadata | None = None
        head = _read_guarded(file, 12, name)
        file.seek(0)
        self.compressed = _is_compressed(head, name)
        if self.compressed:
            self._zstd = ZstdChunks(file, name, chunk_bytes or ZSTD_CHUNK_BYTES)
            weakref.finalize(self, self._zstd.close)  # a source nobody closes ends its thread
        self._stream = self._zstd.chunks() if self._zstd else self._raw_chunks()
        try:
            self.header, self._rest = self._read_header()
        except BaseException:
            self.close()
            raise

    @property
    def bytes_read(self) -> int:
        """Bytes of the file (compressed, if it is) that have been read so far."""
        return self._zstd.bytes_read if self._zstd else self._read

    @property
    def metadata(self) -> Metadata:
        """The decoded header; decoding imports databento_dbn."""
        if self._metadata is None:
            self._metadata = decode_metadata(self.header, self.name)
        return self._metadata

    def chunks(self) -> Iterator[Bytes]:
        """Yield the bytes after the header; a buffer is valid until the next one is asked for.

        Raises
        ------
        TruncatedError, FormatError
            The compressed stream ends too early or is damaged; whole chunks came before.
        """
        if self._taken:
            raise UsageError(f"{self.name}: its chunks were taken before. Open it again.")
        self._taken = True
        try:
            if len(self._rest):
                yield self._rest
            yield from self._stream
        finally:
            self.close()

    def close(self) -> None:
        """Stop the second thread, if any, and close the file. May be called again."""
        if self._zstd is not None:
            self._zstd.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read_header(self) -> tuple[Header, Bytes]:
        reader = HeaderReader(self.name)
        for chunk in self._stream:
            header, taken = reader.feed(chunk)
            if header is not None:
                return header, chunk[taken:]
        reader.finish()
        raise AssertionError

    def _raw_chunks(self) -> Iterator[Bytes]:
        buffer = np.empty(self._chunk_bytes, np.uint8)
        readinto = cast("io.BufferedIOBase", self._file).readinto
        while True:
            try:
                count = readinto(buffer.data)
            except OSError as error:
                raise _unreadable(self.name, self._read, error) from error
            if not count:
                return
            self._read += count
            yield buffer[:count]


def decode_metadata(header: Header, name: str) -> Metadata:
    """Decode a header with databento's own decoder.

    Raises
    ------
    FormatError
        The metadata is damaged.
    """
    import databento_dbn

    try:
        raw: Any = databento_dbn.Metadata.decode(header.data)
        return Metadata(
            version=header.version,  # the decoder upgrades its own answer to 3
            ts_out=header.ts_out,
            dataset=raw.dataset,
            schema=None if raw.schema is None else str(raw.schema.value),
            stype_in=None if raw.stype_in is None else str(raw.stype_in.value),
            stype_out=None if raw.stype_out is None else str(raw.stype_out.value),
            start_ns=raw.start,
            end_ns=raw.end,
            limit=raw.limit,
            symbols=tuple(raw.symbols),
            partial=tuple(raw.partial),
            not_found=tuple(raw.not_found),
            mappings={
                symbol: tuple(
                    Mapping(
                        intern(str(row["start_date"])), intern(str(row["end_date"])), row["symbol"]
                    )
                    for row in intervals
                )
                # slots are opened in this order, and the decoder's differs from call to call
                for symbol, intervals in sorted(raw.mappings.items())
            },
        )
    # A panic of the decoder is no Exception; whatever it says, the bytes are to blame.
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise FormatError(
            f"{name}: the metadata in bytes 8 to {len(header.data)} can't be decoded "
            f"({error}). The file is damaged; fetch it again."
        ) from error


def _open_file(source: object) -> tuple[BinaryIO, str]:
    """Return a binary file at its start, and what to call it."""
    inner = getattr(source, "_data_source", None)  # databento.DBNStore, without importing it
    if inner is not None:
        path = getattr(inner, "path", None)
        if path is None:
            return io.BytesIO(cast("bytes", getattr(source, "raw", b""))), "DBNStore in memory"
        source = path
    if hasattr(source, "read"):
        return cast("BinaryIO", source), str(getattr(source, "name", "file object"))
    path = Path(os.fspath(cast("str | os.PathLike[str]", source)))
    if path.is_dir():
        raise DataError(f"{path}: is a folder. Name the .dbn or .dbn.zst files in it.")
    try:
        return path.open("rb", buffering=0), str(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Check the path.") from error
    except PermissionError as error:
        raise DataError(f"{path}: no permission to read it. Check owner and mode.") from error
    except OSError as error:
        raise _unreadable(str(path), 0, error) from error


def _read_guarded(file: BinaryIO, count: int, name: str) -> bytes:
    try:
        head = file.read(count)
    except OSError as error:
        raise _unreadable(name, 0, error) from error
    if not head:
        raise FormatError(f"{name}: is empty (0 bytes). Fetch it again.")
    return head


def _unreadable(name: str, offset: int, error: OSError) -> DataError:
    return DataError(f"{name}: can't be read at byte {offset}: {error.strerror or error}.")


def _is_compressed(head: bytes, name: str) -> bool:
    magic = int.from_bytes(head[:4], "little")
    skippable = len(head) >= 4 and magic & ~0xF == SKIPPABLE_MAGIC
    if skippable and head[8:11] == b"DBZ":  # the predecessor of DBN hid its header in one
        raise FormatError(f"{name}: byte 8 starts {DBZ_REFUSAL}.")
    return skippable or (len(head) >= 4 and magic == ZSTD_MAGIC)


def _file_bytes(file: BinaryIO, name: str) -> int:
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
    except OSError as error:
        raise DataError(f"{name}: is a pipe or device; write it to a file first.") from error
    return size
