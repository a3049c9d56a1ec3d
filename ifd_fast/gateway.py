"""`ifd gateway`: Databento's live protocol over TCP, for a market of our own.

A thread accepts clients and gives each a thread of its own. It binds to this machine alone unless
told otherwise: whoever reaches it and knows the key, which is no secret, is let in.

>>> with Gateway(Market(load_tape([path]))) as gateway:
...     client = databento.Live(TEST_KEY, gateway="127.0.0.1", port=gateway.port)
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import Final, Self

from ifd_fast.errors import UsageError
from ifd_fast.gateway_market import Market
from ifd_fast.gateway_session import Session

__all__ = ["Gateway"]

JOIN_S: Final = 5.0
BACKLOG: Final = 16


class Gateway:
    """Serves `market` on `host`:`port` while entered; port 0 takes a free one."""

    def __init__(
        self, market: Market, *, host: str = "127.0.0.1", port: int = 0, open_to_all: bool = False
    ) -> None:
        if not open_to_all and not _is_loopback(host):
            raise UsageError(
                f"`host` {host} can be reached from other machines, and the gateway's key is no "
                "secret. Use 127.0.0.1, or say --open-to-all."
            )
        self.market = market
        self._address = host, port
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._listener is None:
            raise UsageError("The gateway does not listen: enter it first.")
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        try:
            self._listener = socket.create_server(self._address, backlog=BACKLOG)
        except OSError as error:
            host, port = self._address
            raise UsageError(
                f"--port {port} of {host} can't be listened on: {error.strerror}. Use another."
            ) from None
        self._start(self._accept, "ifd-gateway")
        return self

    def __exit__(self, *failure: object) -> None:
        self.market.close()
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            connections = list(self._connections)
        for one in connections:  # wakes a thread that sends to a client who doesn't read
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(JOIN_S)

    def _start(self, work: Callable[..., None], name: str, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name=name, daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        listener, number = self._listener, 0
        while listener is not None and not self.market.is_closing:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            number += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(connection)
                self.market.session_count = len(self._connections)
            self._start(self._serve, f"ifd-gateway-{number}", connection, number)

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            Session(self.market, connection, number).run()
        finally:
            with self._lock:
                self._connections.discard(connection)
                self.market.session_count = len(self._connections)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
