"""Databento's live protocol on a plain socket: handshake and subscriptions in, bytes out.

The words are the client library's own messages; the socket is ours, read by whoever polls. The
key is never sent: the gateway asks, and is answered with a digest of key and question.
"""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import zstandard

from ifd_fast.credentials import clean_answer, redact_text
from ifd_fast.errors import ConfigError, CredentialError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ifd_fast.credentials import Secret

__all__ = [
    "LiveConnection",
    "Subscription",
    "Terms",
    "live_address",
    "open_connection",
    "try_key",
]

_LINE_BYTES_MAX: Final = 8192
_SYMBOLS_MAX: Final = 500  # in one message
_SOCKET_BYTES: Final = 1 << 23
_READ_BYTES: Final = 1 << 17
_SUBSCRIBE_S: Final = 30.0
_STOP_LOOK_S: Final = 0.25  # how long whoever wants to stop waits for it


class Subscription(NamedTuple):
    """One schema of some parents; `start_ns` replays from then on, 0 all there is."""

    schema: str
    symbols: tuple[str, ...]
    start_ns: int | None = None
    snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of a session: its dataset, and how records are sent."""

    dataset: str
    ts_out: bool = False
    compressed: bool = False
    heartbeat_s: int = 5  # 5 is the least that the gateway takes
    connect_timeout_s: float = 10.0
    answer_timeout_s: float = 30.0


class LiveConnection:
    """An open session; its socket never waits."""

    def __init__(self, connection: socket.socket, session_id: str, *, compressed: bool) -> None:
        """Take over a socket on which the session was started."""
        connection.setblocking(False)
        self.session_id = session_id
        self._socket = connection
        self._compressed = compressed
        self._zstd = zstandard.ZstdDecompressor().decompressobj()
        self._packed = bytearray(_READ_BYTES)
        self._unpacked = memoryview(b"")

    def receive(self, space: memoryview) -> int | None:
        """Receive into `space`; return how many bytes, 0 at the end, None if there are none yet.

        Raises
        ------
        OSError
            The connection broke.
        zstandard.ZstdError
            What came can't be decompressed.
        """
        if self._compressed:
            return self._receive_packed(space)
        try:
            return self._socket.recv_into(space)
        except BlockingIOError:
            return None

    def wait(self, timeout_s: float) -> None:
        """Return once something can be received, or after `timeout_s`."""
        if not self._unpacked:
            select.select([self._socket], [], [], timeout_s)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _receive_packed(self, space: memoryview) -> int | None:
        if not self._unpacked:
            try:
                count = self._socket.recv_into(self._packed)
            except BlockingIOError:
                return None
            if not count:
                return 0
            self._unpacked = memoryview(self._unpack(bytes(self._packed[:count])))
            if not self._unpacked:
                return None
        count = min(len(space), len(self._unpacked))
        space[:count] = self._unpacked[:count]
        self._unpacked = self._unpacked[count:]
        return count

    def _unpack(self, data: bytes) -> bytes:
        """Decompress; one frame may end and the next begin anywhere."""
        parts = []
        while data:
            parts.append(self._zstd.decompress(data))
            data = self._zstd.unused_data
            if self._zstd.eof:
                self._zstd = zstandard.ZstdDecompressor().decompressobj()
        return b"".join(parts)


def open_connection(
    key: Secret,
    address: tuple[str, int],
    terms: Terms,
    wanted: Sequence[Subscription],
    is_stopped: Callable[[], bool] = lambda: False,
) -> LiveConnection:
    """Connect, shake hands, subscribe and start the session; give up once `is_stopped`.

    Raises
    ------
    CredentialError
        The gateway doesn't let the key in.
    RequestError
        Nobody answers, in time or at all, or not as a live gateway does; `case` is
        "connection_limit" if too many sessions are open.
    """
    return _connect(key, address, terms, wanted, is_stopped)


def try_key(key: Secret, address: tuple[str, int], terms: Terms) -> None:
    """Shake hands and hang up before asking for anything; raises what `open_connection` does."""
    _connect(key, address, terms, None, lambda: False).close()


def live_address(gateway: str, dataset: str) -> tuple[str, int]:
    """Return host and port of a dataset's gateway: GLBX.MDP3 is `glbx-mdp3` in its name.

    Raises ConfigError if `gateway` is no host:port.
    """
    name = gateway.replace("{dataset}", dataset.lower().replace(".", "-"))
    host, colon, port = name.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ConfigError(
            "`databento.live_gateway` must be host:port as in {dataset}.lsg.databento.com:13000,"
            f" was {redact_text(gateway)!r}."
        )
    return host.strip("[]"), int(port)


def _connect(
    key: Secret,
    address: tuple[str, int],
    terms: Terms,
    wanted: Sequence[Subscription] | None,
    is_stopped: Callable[[], bool],
) -> LiveConnection:
    """Return a connection that is let in, and has asked for `wanted` unless that is None."""
    where = f"live gateway {address[0]}:{address[1]}"
    try:
        connection = socket.create_connection(address, terms.connect_timeout_s)
    except TimeoutError:
        found = f"{where}: no connection within {terms.connect_timeout_s:g} s"
        raise RequestError(f"{found}. Check network and firewall.") from None
    except OSError as error:
        found = f"{where}: can't be reached ({error.strerror or type(error).__name__})"
        raise RequestError(f"{found}. Check network, firewall and address.") from None
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BYTES)
        lines = _Lines(connection, time.monotonic() + terms.answer_timeout_s, is_stopped)
        session_id = _shake_hands(connection, lines, key, terms, where)
        if wanted is not None:
            connection.settimeout(_SUBSCRIBE_S)
            connection.sendall(_encode_requests(wanted))
        return LiveConnection(connection, session_id, compressed=terms.compressed)
    except BaseException as error:
        connection.close()
        if isinstance(error, TimeoutError) and is_stopped():
            found = f"{where}: stopped before there was an answer"
        elif isinstance(error, TimeoutError):
            found = f"{where}: no answer within {terms.answer_timeout_s:g} s"
        elif isinstance(error, OSError):
            found = f"{where}: hung up during the handshake ({type(error).__name__})"
        elif isinstance(error, ValueError | TypeError):
            text = clean_answer(str(error), key)
            found = f"{where}: the answer can't be read ({text}). Is it Databento's?"
        else:
            raise
    # Outside the handler: no traceback may lead to a frame that holds the key.
    raise RequestError(found)


def _shake_hands(
    connection: socket.socket, lines: _Lines, key: Secret, terms: Terms, where: str
) -> str:
    from databento.common.cram import get_challenge_response
    from databento.live.gateway import (
        AuthenticationRequest,
        AuthenticationResponse,
        ChallengeRequest,
        Greeting,
    )

    Greeting.parse(lines.next())
    challenge = ChallengeRequest.parse(lines.next()).cram
    request = AuthenticationRequest(
        auth=get_challenge_response(challenge, key.reveal()),
        dataset=terms.dataset,
        ts_out=str(int(terms.ts_out)),
        compression="zstd" if terms.compressed else "none",
        heartbeat_interval_s=terms.heartbeat_s,
    )
    connection.sendall(bytes(request))
    answer = AuthenticationResponse.parse(lines.next())
    if answer.success == "1":
        return answer.session_id or ""
    reason = clean_answer(answer.error or "without a reason", key)
    del answer  # may hold the key, and what is raised from here leads to this frame
    if "connection limit" in reason.lower():
        limited = RequestError(f"{where}: {reason}. Close another session, or wait.")
        limited.case = "connection_limit"
        raise limited
    raise CredentialError(
        f"{where}: doesn't let this API key in: {reason}. Check the key and its live licence"
        " on the Databento portal."
    )


class _Lines:
    """Lines of text from a socket, until a time, or until somebody wants to stop."""

    def __init__(
        self, connection: socket.socket, until_s: float, is_stopped: Callable[[], bool]
    ) -> None:
        self._connection, self._until_s, self._is_stopped = connection, until_s, is_stopped

    def next(self) -> bytes:
        """Return the next line and take no byte more: what follows it is not text."""
        while True:
            seen = self._peek()
            if not seen:
                raise ConnectionResetError
            end = seen.find(b"\n") + 1
            if end:
                return self._connection.recv(end)
            if len(seen) >= _LINE_BYTES_MAX:
                raise ValueError(f"{len(seen)} bytes without a line's end")
            if time.monotonic() >= self._until_s or self._is_stopped():
                raise TimeoutError
            time.sleep(0.001)  # a part of a line is there: peeking would return at once

    def _peek(self) -> bytes:
        """Return what lies there once anything does; a signal alone would not end the wait."""
        while True:
            left_s = self._until_s - time.monotonic()
            self._connection.settimeout(min(max(left_s, 0.001), _STOP_LOOK_S))
            try:
                return self._connection.recv(_LINE_BYTES_MAX, socket.MSG_PEEK)
            except TimeoutError:
                if left_s <= _STOP_LOOK_S or self._is_stopped():
                    raise


def _encode_requests(wanted: Sequence[Subscription]) -> bytes:
    from databento.live.gateway import SessionStart, SubscriptionRequest
    from databento_dbn import SType

    parts = []
    for number, one in enumerate(wanted):
        for first in range(0, len(one.symbols), _SYMBOLS_MAX):
            request = SubscriptionRequest(
                schema=one.schema,
                stype_in=SType.from_str("parent"),
                symbols=",".join(one.symbols[first : first + _SYMBOLS_MAX]),
                start=one.start_ns,
                snapshot=int(one.snapshot),
                id=number,
                is_last=int(first + _SYMBOLS_MAX >= len(one.symbols)),
            )
            parts.append(bytes(request))
    return b"".join([*parts, bytes(SessionStart())])
