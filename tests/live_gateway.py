"""The handshake of Databento's live gateway on a socket, with an answer of the test's choice."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.historical_server import KEY

__all__ = ["LiveGateway", "live_gateway"]

CHALLENGE = "t7kNhwj4xqR0QYjzFKtBEG2ec2pXJ4FK"
GREETING = f"lsg_version=0.8.0\ncram={CHALLENGE}\n".encode()


@dataclass
class LiveGateway:
    """What a test knows of the gateway: where it is, what it says, what it was told."""

    address: str = ""
    greeting: bytes = GREETING
    refusal: str = ""  # the error it answers instead of letting anyone in
    told: list[bytes] = field(default_factory=list)

    def wait_told(self, count: int) -> list[bytes]:
        """Return what it was told, once that is `count` lines, or a second has passed."""
        until_s = time.monotonic() + 1.0
        while len(self.told) < count and time.monotonic() < until_s:
            time.sleep(0.001)
        return self.told


@contextmanager
def live_gateway() -> Iterator[LiveGateway]:
    """Listen on a port of the system's choice until the block ends."""
    state = LiveGateway()
    listener = socket.create_server(("127.0.0.1", 0))
    state.address = f"127.0.0.1:{listener.getsockname()[1]}"
    thread = threading.Thread(target=_serve, args=(listener, state), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=5)


def _serve(listener: socket.socket, state: LiveGateway) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(2)
            try:
                _shake_hands(connection, state)
            except OSError:
                continue


def _shake_hands(connection: socket.socket, state: LiveGateway) -> None:
    connection.sendall(state.greeting)
    if not state.greeting.endswith(f"cram={CHALLENGE}\n".encode()):
        return
    line = connection.makefile("rb").readline()
    state.told.append(line)
    digest = hashlib.sha256(f"{CHALLENGE}|{KEY}".encode()).hexdigest()
    if state.refusal:
        connection.sendall(f"success=0|error={state.refusal}\n".encode())
    elif f"auth={digest}-{KEY[-5:]}|dataset=GLBX.MDP3|".encode() in line:
        connection.sendall(b"success=1|session_id=7\n")
    else:
        connection.sendall(b"success=0|error=Authentication failed.\n")
    state.told.append(connection.recv(4096))  # nothing more than the end may come
