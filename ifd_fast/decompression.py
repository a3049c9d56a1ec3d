"""zstd frames to buffers, in a second thread, with every end of the file accounted for.

libzstd's streaming reader answers a file that ends inside a frame with silence, so the blocks of
each frame are counted on their way in: their headers, three bytes each, say where a frame ends.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import BinaryIO, Final, TypeAlias

import numpy as np
import zstandard
from numpy.typing import NDArray

from ifd_fast.errors import DataError, FormatError, TruncatedError, UsageError

__all__ = ["SKIPPABLE_MAGIC", "ZSTD_MAGIC", "FrameWatch", "ZstdChunks"]

Bytes: TypeAlias = NDArray[np.uint8]

ZSTD_MAGIC: Final = 0xFD2FB528
SKIPPABLE_MAGIC: Final = 0x184D2A50  # the last four bits are free
_BLOCK_RLE: Final = 1
_BLOCK_RESERVED: Final = 3
_DICTIONARY_BYTES: Final = (0, 1, 2, 4)

_READ_BYTES: Final = 1 << 17
# Three buffers keep both sides busy; a fourth takes up the jitter of a scored second.
_BUFFERS: Final = 4
_WINDOW_BYTES_MAX: Final = 1 << 27  # zstd's own limit: a header may not make us allocate more


class FrameWatch:
    """A file to read compressed bytes from that knows whether it stands inside a frame."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.bytes_read = 0
        self._file = file
        self._name = name
        self._parts = self._walk()
        self._wanted = next(self._parts)  # bytes to collect, or to pass by if negative
        self._collected = bytearray()
        self._inside = False  # a frame has begun and not ended
        self._frame_start = 0

    def read(self, size: int) -> bytes:
        """Return the next bytes, b"" at the end.

        Raises
        ------
        TruncatedError
            The file ends inside a frame.
        FormatError
            Bytes that are no zstd frame.
        DataError
            The file can't be read.
        """
        try:
            data = self._file.read(size)
        except OSError as error:
            raise DataError(
                f"{self._name}: can't be read at byte {self.bytes_read}: {error.strerror or error}."
            ) from error
        if data:
            self._follow(data)
        elif self._inside or self._collected:
            raise TruncatedError(
                f"{self._name}: ends at byte {self.bytes_read} inside the zstd frame that "
                f"began at byte {self._frame_start}. Fetch it again."
            )
        return data

    def _follow(self, data: bytes) -> None:
        offset = 0
        while offset < len(data):
            if self._wanted < 0:
                step = min(-self._wanted, len(data) - offset)
                self._wanted += step
            else:
                step = min(self._wanted - len(self._collected), len(data) - offset)
                self._collected += data[offset : offset + step]
            offset += step
            self.bytes_read += step
            if self._wanted == len(self._collected):  # 0 of 0 after a part passed by
                self._wanted = self._parts.send(bytes(self._collected))
                self._collected.clear()

    def _walk(self) -> Generator[int, bytes, None]:
        """Ask for the parts of one frame after the other: n bytes to see, or -n to pass by."""
        while True:
            self._inside = False
            self._frame_start = self.bytes_read
            magic = int.from_bytes((yield 4), "little")
            self._inside = True
            if magic & ~0xF == SKIPPABLE_MAGIC:
                yield from _pass_by(int.from_bytes((yield 4), "little"))
            elif magic == ZSTD_MAGIC:
                yield from self._walk_blocks()
            else:
                raise FormatError(
                    f"{self._name}: no zstd frame begins at byte {self._frame_start} (found "
                    f"{magic:08x}). The file is damaged or has something appended."
                )

    def _walk_blocks(self) -> Generator[int, bytes, None]:
        descriptor = (yield 1)[0]
        single_segment = descriptor >> 5 & 1
        content_size_bytes = (single_segment, 2, 4, 8)[descriptor >> 6]
        yield from _pass_by(
            (1 - single_segment) + _DICTIONARY_BYTES[descriptor & 3] + content_size_bytes
        )
        last = False
        while not last:
            block = int.from_bytes((yield 3), "little")
            last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
            if kind == _BLOCK_RESERVED:
                raise FormatError(
                    f"{self._name}: damaged zstd block header before byte {self.bytes_read}. "
                    "Fetch it again."
                )
            yield from _pass_by(1 if kind == _BLOCK_RLE else size)
        yield from _pass_by(4 if descriptor & 4 else 0)  # the checksum


def _pass_by(count: int) -> Generator[int, bytes, None]:
    if count:
        yield -count


class ZstdChunks:
    """Decompressed bytes of `file`, made by a second thread; close it to stop the thread."""

    def __init__(self, file: BinaryIO, name: str, chunk_bytes: int) -> None:
        self._watch = FrameWatch(file, name)
        self._name = name
        self._made = 0
        self._stop = threading.Event()
        self._free: queue.SimpleQueue[Bytes | None] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[tuple[Bytes, int] | BaseException | None] = (
            queue.SimpleQueue()
        )
        for _ in range(_BUFFERS):
            self._free.put(np.empty(chunk_bytes, np.uint8))
        self._thread = threading.Thread(target=self._run, name="ifd-zstd", daemon=True)
        self._thread.start()

    @property
    def bytes_read(self) -> int:
        """Compressed bytes read so far."""
        return self._watch.bytes_read

    def chunks(self) -> Iterator[Bytes]:
        """Yield buffers in order; each is overwritten some time after the next is asked for."""
        while True:
            item = self._full.get()
            if self._stop.is_set():
                raise UsageError(f"{self._name}: closed while it was being read.")
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            buffer, count = item
            yield buffer[:count]
            self._free.put(buffer)

    def close(self) -> None:
        """Stop the thread and wait for it; what is not yet taken is dropped."""
        self._stop.set()
        self._free.put(None)
        self._full.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._decompress()
            self._full.put(None)
        except zstandard.ZstdError as error:
            self._full.put(
                FormatError(
                    f"{self._name}: damaged zstd data before byte {self._watch.bytes_read} "
                    f"(decompressed byte {self._made}): {error}. Fetch it again."
                )
            )
        except BaseException as error:  # noqa: BLE001  # whatever it is, the caller must hear it
            self._full.put(error)

    def _decompress(self) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES_MAX)
        reader = decompressor.stream_reader(
            self._watch,  # type: ignore[arg-type]  # it needs read(size) and no more
            read_size=_READ_BYTES,
            read_across_frames=True,
            closefd=False,
        )
        while (buffer := self._free.get()) is not None and not self._stop.is_set():
            count = reader.readinto(buffer.data)
            if not count:
                return
            self._made += count
            self._full.put((buffer, count))
