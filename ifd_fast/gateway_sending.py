"""Records on their way to one client: ts_out, compression, and when the last of them left."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import zstandard

if TYPE_CHECKING:
    import socket

    from numpy.typing import NDArray

__all__ = ["Sender"]

RESET: Final = struct.pack("ii", 1, 0)  # linger on, for no time: closing resets
TS_OUT_BYTES: Final = 8


class Sender:
    """Sends a DBN stream; what is sent can be taken by the client as soon as a call returns."""

    def __init__(self, connection: socket.socket, *, ts_out: bool, compressed: bool) -> None:
        self.stream_bytes = 0  # before compression
        self.sent_at_s = time.monotonic()
        self.longest_s = 0.0  # that the client's socket took no byte
        self._socket = connection
        self._ts_out = ts_out
        self._compressor: Any = None
        if compressed:
            self._compressor = zstandard.ZstdCompressor(level=1).compressobj()

    def send(self, data: bytes | memoryview) -> None:
        """Send bytes of the stream."""
        self.stream_bytes += len(data)
        began_s = time.monotonic()
        if self._compressor is None:
            self._socket.sendall(data)
        else:
            wire = self._compressor.compress(data)
            self._socket.sendall(wire + self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
        self.sent_at_s = time.monotonic()
        self.longest_s = max(self.longest_s, self.sent_at_s - began_s)

    def send_rows(self, rows: NDArray[np.uint8], sent_ns: int) -> None:
        """Send records (n, bytes) of one size; `sent_ns`: what ts_out says, if it is asked for."""
        if not len(rows):
            return
        if self._ts_out:
            wide = np.empty((len(rows), rows.shape[1] + TS_OUT_BYTES), np.uint8)
            wide[:, :-TS_OUT_BYTES] = rows
            wide[:, 0] += TS_OUT_BYTES // 4  # length, in 32-bit words
            wide[:, -TS_OUT_BYTES:] = np.frombuffer(struct.pack("<Q", sent_ns), np.uint8)
            rows = wide
        self.send(np.ascontiguousarray(rows).reshape(-1).data)

    def send_unframed(self, data: bytes) -> None:
        """Send bytes as they are, past the compressor."""
        self._socket.sendall(data)

    def reset_on_close(self) -> None:
        """Have the connection's end be a reset."""
        import socket

        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
