"""What a live session finds, for programs beside it: lines of JSON over a socket in its record.

The keeper publishes; pages, alerts and whoever else subscribe (`subscribing`). Nothing here waits
for a subscriber: each has its own queue of QUEUE_BYTES, whose oldest lines are dropped and counted
when it is full, and a subscriber is told how many it missed. Rows lie in the record's segments as
well, so that whoever missed some reads them there.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FEED", "Publisher", "bind_feed"]

FEED: Final = "feed.sock"
SUBSCRIBERS_MAX: Final = 16
QUEUE_BYTES: Final = 8 << 20  # about two windows' rows of 10,000 instruments
BEGIN: Final = b'{"kind":"begin"}\n'
KEPT: Final = ("state", "health")  # whoever comes later is told the last of each
_SEND_BYTES: Final = 1 << 16
_RETRY_S: Final = 0.1


class Publisher:
    """Serves the feed of one record from a thread of its own.

    Attributes
    ----------
    dropped
        Lines that no queue had room for, of all subscribers.
    """

    def __init__(self, record: Path) -> None:
        """Listen in the folder `record`; raises OSError if that can't be."""
        self.dropped = 0
        self._path = record / FEED
        self._listener = bind_feed(record)
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        for one in (self._wake, self._woken):
            one.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._subscribers: dict[socket.socket, _Queue] = {}
        self._unsettled: list[bytes] = []  # rows that no segment holds yet
        self._last: dict[str, bytes] = {}
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="ifd-feed", daemon=True)
        self._thread.start()

    @property
    def subscribers(self) -> int:
        """How many listen now."""
        return len(self._subscribers)

    def publish(self, kind: str, data: Any) -> None:
        """Queue a line for all who listen; never waits. Non-finite numbers become null."""
        line = msgspec.json.encode({"kind": kind, "data": data}) + b"\n"
        with self._lock:
            if kind in KEPT:
                self._last[kind] = line
            elif kind in {"windows", "signals"}:
                self._unsettled.append(line)
            for queue in self._subscribers.values():
                self.dropped += queue.put(line)
        self._nudge()

    def settle(self) -> None:
        """Say that all rows published so far lie in segments, for whoever subscribes from now."""
        with self._lock:
            self._unsettled.clear()

    def close(self, timeout_s: float) -> None:
        """Send what is queued for at most that long, and end."""
        with self._lock:
            self._ends = True
        self._nudge()
        self._thread.join(timeout_s)
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _nudge(self) -> None:
        with contextlib.suppress(OSError):  # full: it will wake anyway
            self._wake.send(b"\0")

    def _run(self) -> None:
        try:
            while not self._is_done():
                for key, _ in self._selector.select(0.5 if not self._ends else 0.05):
                    self._attend(key.fileobj)
                self._send_all()
        finally:
            self._leave()

    def _leave(self) -> None:
        """Let go of everything, however this ended: publishing then reaches nobody."""
        with self._lock:
            subscribers, self._subscribers = list(self._subscribers), {}
        for one in (*subscribers, self._listener, self._wake, self._woken):
            one.close()
        self._selector.close()

    def _is_done(self) -> bool:
        with self._lock:
            return self._ends and not any(one.waits for one in self._subscribers.values())

    def _attend(self, one: Any) -> None:
        if one is self._listener:
            self._accept()
        elif one is self._woken:
            with contextlib.suppress(OSError):
                self._woken.recv(4096)
        elif self._has_left(one):
            self._remove(one)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # no descriptor is free: it waits in line, and so does this
            time.sleep(_RETRY_S)
            return
        client.setblocking(False)
        with self._lock:
            if len(self._subscribers) >= SUBSCRIBERS_MAX:
                said = {"kind": "refused", "data": f"{SUBSCRIBERS_MAX} subscribers are the most."}
                with contextlib.suppress(OSError):
                    client.send(msgspec.json.encode(said) + b"\n")
                client.close()
                return
            queue = self._subscribers[client] = _Queue()
            for line in (BEGIN, *self._last.values(), *self._unsettled):
                self.dropped += queue.put(line)
        self._selector.register(client, selectors.EVENT_READ)

    def _has_left(self, client: socket.socket) -> bool:
        """Say whether a subscriber is gone; what it says is nothing we ask for."""
        try:
            return not client.recv(4096)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _send_all(self) -> None:
        for client, queue in list(self._subscribers.items()):
            try:
                waits = self._send(client, queue)
            except OSError:
                self._remove(client)
                continue
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if waits else 0)
            self._selector.modify(client, wanted)

    def _send(self, client: socket.socket, queue: _Queue) -> bool:
        """Send until the socket is full; say whether something is left."""
        while True:
            with self._lock:
                data = queue.take()
            if not data:
                return False
            try:
                sent = client.send(data)
            except BlockingIOError:
                sent = 0
            if sent < len(data):
                with self._lock:
                    queue.put_back(data[sent:])
                return True

    def _remove(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        with self._lock:
            del self._subscribers[client]
        client.close()


class _Queue:
    """What one subscriber has not been sent: whole lines, the first of them perhaps begun."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._begun = b""  # the rest of what was sent in part
        self._missed = 0

    @property
    def waits(self) -> bool:
        """Whether something is to be sent."""
        return bool(self._lines or self._begun)

    def put(self, line: bytes) -> int:
        """Add a line; return how many were dropped for it."""
        self._lines.append(line)
        self._bytes += len(line)
        dropped = 0
        while self._bytes > QUEUE_BYTES and len(self._lines) > 1:
            self._bytes -= len(self._lines.popleft())
            dropped += 1
        self._missed += dropped
        return dropped

    def take(self) -> bytes:
        """Return what is to be sent next, none of it kept."""
        if self._begun:
            data, self._begun = self._begun, b""
            return data
        parts: list[bytes] = []
        if self._missed:
            parts.append(msgspec.json.encode({"kind": "dropped", "data": self._missed}) + b"\n")
            self._missed = 0
        size = 0
        while self._lines and size < _SEND_BYTES:
            line = self._lines.popleft()
            self._bytes -= len(line)
            size += len(line)
            parts.append(line)
        return b"".join(parts)

    def put_back(self, rest: bytes) -> None:
        """Keep what a socket did not take; it is begun, and so never dropped."""
        self._begun = rest


def bind_feed(record: Path) -> socket.socket:
    """Return a socket that listens at RECORD/feed.sock, for this user alone.

    Its address may be 108 bytes long; a folder's may be longer. So it is named from a descriptor.
    """
    path = record / FEED
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(record, os.O_RDONLY | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{FEED}")
        path.chmod(0o600)  # before it listens: until then nobody can connect
        listener.listen(SUBSCRIBERS_MAX)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(folder)
    listener.setblocking(False)
    return listener
