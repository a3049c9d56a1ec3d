"""What a client of the gateway says: lines of text, before the stream begins and beside it."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from ifd_fast.gateway_protocol import (
    LINE_BYTES_MAX,
    ProtocolError,
    SubscriptionRequest,
    encode_line,
    parse_line,
    parse_subscription,
)
from ifd_fast.gateway_tape import SCHEMAS

if TYPE_CHECKING:
    import socket

__all__ = ["ControlLines", "SessionEndError"]


class SessionEndError(Exception):
    """The session is over; the text says why, for the log."""


class ControlLines:
    """Reads the client's half of a session from `connection`."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._text = b""
        self._pending: list[SubscriptionRequest] = []  # of a list of symbols in several lines
        self._subscriptions: list[SubscriptionRequest] = []

    def read_fields(self, timeout_s: float | None) -> dict[str, str]:
        """Return the next line's fields, waited for; a line that is none is refused in text."""
        self._socket.settimeout(timeout_s)
        while b"\n" not in self._text:
            self._text += self._receive()
            if len(self._text) > LINE_BYTES_MAX:
                raise SessionEndError("a control line of over 64 KB")
        self._socket.settimeout(None)
        line, _, self._text = self._text.partition(b"\n")
        try:
            return parse_line(line)
        except ProtocolError as error:
            self._socket.sendall(encode_line(success=0, error=error))
            raise SessionEndError(f"{error}") from None

    def read_until_start(self) -> None:
        """Take subscriptions until the client says to start."""
        while "start_session" not in (fields := self.read_fields(None)):
            self._take(fields)

    def poll(self) -> None:
        """Take what has come by now, while records flow; the client's end is the session's."""
        readable, _, _ = select.select([self._socket], [], [], 0)
        if not readable:
            return
        self._text += self._receive()
        while b"\n" in self._text:
            line, _, self._text = self._text.partition(b"\n")
            try:
                self._take(parse_line(line))
            except ProtocolError as error:
                raise SessionEndError(f"{error}") from None

    def take_subscriptions(self) -> list[SubscriptionRequest]:
        """Return what was asked for since the last call; of no schema: why it can't be had."""
        taken, self._subscriptions = self._subscriptions, []
        return taken

    def _take(self, fields: dict[str, str]) -> None:
        try:
            found = parse_subscription(fields, SCHEMAS)
        except ProtocolError as error:  # told in the stream: text there would break clients
            found = SubscriptionRequest("", "", (str(error),), None, False, 0, is_last=True)
        self._pending.append(found)
        if found.is_last:
            symbols = tuple(symbol for part in self._pending for symbol in part.symbols)
            self._subscriptions.append(found._replace(symbols=symbols))
            self._pending.clear()

    def _receive(self) -> bytes:
        data = self._socket.recv(LINE_BYTES_MAX)
        if not data:
            raise SessionEndError("client left")
        return data
