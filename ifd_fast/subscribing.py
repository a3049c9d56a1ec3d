"""Following what a live session finds, as soon as its bytes are synced: the feed's other end.

`Feed(record)` connects to the keeper's socket, again and again as keepers come and go. Each time
the keeper has let it in, `begin` comes first: what was found before lies in the record's segments,
so read those then. A row that comes twice has the same key: window end and instrument; of signals,
id and instant.
"""

from __future__ import annotations

import os
import select
import socket
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ifd_fast.errors import DataError
from ifd_fast.publishing import FEED

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Feed", "FeedItem"]

RETRY_S: Final = 0.2
LINE_BYTES_MAX: Final = 64 << 20
_READ_BYTES: Final = 1 << 18


class FeedItem(msgspec.Struct, frozen=True):
    """One thing that was said.

    `kind` and `data`: `begin` None; `windows` and `signals` lists of rows by column name, signals
    with `withheld`, times as ISO 8601 strings, numbers that are not finite as None; `state`
    {state, why}; `health` what the engine says of itself; `dropped` how many lines were missed
    (the segments have their rows); `refused` why; `end` what `session.json` says; `lost` None: the
    connection is gone.
    """

    kind: str
    data: Any = None


_DECODER: Final = msgspec.json.Decoder(FeedItem)


class Feed:
    """The feed of one record; connects when first polled, and again whenever that ends."""

    def __init__(self, record: Path) -> None:
        """Follow the live session that records in the folder `record`."""
        self._record = record
        self._socket: socket.socket | None = None
        self._rest = b""
        self._tried_s = float("-inf")

    @property
    def is_connected(self) -> bool:
        """Whether a keeper is at the other end."""
        return self._socket is not None

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 without one: for a selector or an event loop."""
        return -1 if self._socket is None else self._socket.fileno()

    def poll(self, timeout_s: float) -> list[FeedItem]:
        """Return what was said, once there is something; nothing after `timeout_s`.

        Raises
        ------
        DataError
            The other end speaks another protocol.
        """
        ends_s = time.monotonic() + timeout_s
        if self._socket is None and not self._connect(ends_s):
            return []
        return self._receive(ends_s)

    def close(self) -> None:
        """Leave."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._rest = b""

    def _connect(self, ends_s: float) -> bool:
        while True:
            now_s = time.monotonic()
            wait_s = self._tried_s + RETRY_S - now_s
            if wait_s > 0:
                time.sleep(max(min(wait_s, ends_s - now_s), 0.0))
                if time.monotonic() >= ends_s:
                    return False
                continue
            self._tried_s = now_s
            if self._try():
                return True
            if now_s >= ends_s:
                return False

    def _try(self) -> bool:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            folder = os.open(self._record, os.O_RDONLY | os.O_DIRECTORY)
            try:
                client.connect(f"/proc/self/fd/{folder}/{FEED}")
            finally:
                os.close(folder)
        except OSError:
            client.close()
            return False
        client.setblocking(False)
        self._socket = client
        return True

    def _receive(self, ends_s: float) -> list[FeedItem]:
        client = self._socket
        if client is None:
            return []
        while True:
            try:
                data = client.recv(_READ_BYTES)
            except BlockingIOError:
                left_s = ends_s - time.monotonic()
                if left_s <= 0 or not select.select([client], [], [], left_s)[0]:
                    return []
                continue
            except OSError:
                data = b""
            if not data:
                self.close()
                return [FeedItem("lost")]
            items = self._split(data)
            if items:
                return items

    def _split(self, data: bytes) -> list[FeedItem]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            self.close()
            raise DataError(f"{self._record / FEED}: a line is over {LINE_BYTES_MAX:,} bytes long.")
        try:
            return [_DECODER.decode(line) for line in lines]
        except msgspec.DecodeError as error:
            self.close()
            raise DataError(
                f"{self._record / FEED}: {error}; it is served by another version."
            ) from None
