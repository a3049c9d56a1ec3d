"""A raw live gateway for tests: it checks the key, keeps what it is told, sends what it is given.

Every connection has its own script: what to send after the session began, in which cuts, and how
it ends.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.historical_server import KEY

__all__ = ["Script", "TestGateway", "Told", "serving"]

CHALLENGE = "t7kNhwj4xqR0QYjzFKtBEG2ec2pXJ4FK"
GREETING = f"lsg_version=0.8.0\ncram={CHALLENGE}\n".encode()
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: nothing lingers, the other side sees a reset


@dataclass
class Told:
    """What one connection asked for, line by line, as keys and values."""

    lines: list[dict[str, str]] = field(default_factory=list)

    def of(self, schema: str) -> dict[str, str]:
        """Return the last subscription to a schema."""
        return [line for line in self.lines if line.get("schema") == schema][-1]


@dataclass
class Script:
    """What a connection sends, and how it ends: "eof", "reset", or "hold" until the test ends."""

    pieces: Iterable[bytes] = ()
    end: str = "eof"


@dataclass
class TestGateway:
    """Where the gateway is, what it says, what it was told."""

    __test__ = False

    play: Callable[[int, Told], Script]
    address: tuple[str, int] = ("", 0)
    greeting: bytes = GREETING
    refusal: str = ""
    hangs_up: bool = False  # by a reset, once it has been asked
    told: list[Told] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def answer(self, connection: socket.socket) -> None:
        """Serve one connection from its greeting to its end."""
        told = Told()
        self.told.append(told)
        connection.sendall(self.greeting)
        with connection.makefile("rb") as lines:
            for line in lines:
                told.lines.append(dict(one.split("=", 1) for one in line.decode()[:-1].split("|")))
                if self.hangs_up:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    return
                if "auth" in told.lines[-1] and not self._let_in(connection, told.lines[-1]):
                    return
                if "start_session" in told.lines[-1]:
                    break
            else:
                return
        script = self.play(len(self.told), told)
        for piece in script.pieces:
            connection.sendall(piece)
        if script.end == "hold":
            self.over.wait(10)
        elif script.end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _let_in(self, connection: socket.socket, asked: dict[str, str]) -> bool:
        digest = hashlib.sha256(f"{CHALLENGE}|{KEY}".encode()).hexdigest()
        refusal = self.refusal
        if not refusal and asked["auth"] != f"{digest}-{KEY[-5:]}":
            refusal = "Authentication failed."
        said = f"success=0|error={refusal}\n" if refusal else "success=1|session_id=7\n"
        connection.sendall(said.encode())
        return not refusal


@contextmanager
def serving(play: Callable[[int, Told], Script] | None = None) -> Iterator[TestGateway]:
    """Listen on a port of the system's choice until the block ends."""
    gateway = TestGateway(play or (lambda _number, _told: Script()))
    listener = socket.create_server(("127.0.0.1", 0))
    gateway.address = listener.getsockname()[:2]

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                try:
                    gateway.answer(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        gateway.over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=5)
