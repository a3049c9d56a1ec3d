"""A small client of the live protocol, on a plain socket, and a market to serve it."""

from __future__ import annotations

import hashlib
import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import zstandard

from ifd_fast.gateway import Gateway
from ifd_fast.gateway_faults import Fault, Faults
from ifd_fast.gateway_market import TEST_KEY, Market
from ifd_fast.gateway_records import Listed
from ifd_fast.gateway_snapshot import MBO_DTYPE
from ifd_fast.gateway_tape import Part, Tape
from ifd_kernels.layout import UNDEF_PRICE

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DATASET", "ERROR", "MAPPING", "ORDER", "SYSTEM", "Record", "Refused", "WireClient", "code_of",
    "little_market", "order_events", "orders_of", "play", "records_of", "refusal", "unpacked",
]  # fmt: skip

DATASET = "GLBX.MDP3"
SYSTEM, ERROR, MAPPING, ORDER = 0x17, 0x15, 0x16, 0xA0
START_NS = 1_767_567_600_000_000_000


class Refused(Exception):  # noqa: N818  # what it says, not that something broke
    """The gateway let nobody in."""


class Record(NamedTuple):
    """A record of the stream: its type, and all its bytes."""

    rtype: int
    data: bytes


class WireClient:
    """Shakes hands on entering; then `subscribe`, `start`, and what came by `rest`."""

    def __init__(self, port: int, **fields: object) -> None:
        self._port, self._fields = port, fields
        self._key = str(fields.pop("key", TEST_KEY))
        self.text = b""

    def __enter__(self) -> Self:
        self.socket = socket.create_connection(("127.0.0.1", self._port), 5)
        self.socket.settimeout(5)
        try:
            self._shake_hands()
        except BaseException:
            self.socket.close()
            raise
        return self

    def _shake_hands(self) -> None:
        greeting = self.line()
        if not greeting.startswith("lsg_version="):
            raise Refused(greeting)
        challenge = self.line().removeprefix("cram=")
        digest = hashlib.sha256(f"{challenge}|{self._key}".encode()).hexdigest()
        given = {"auth": f"{digest}-{self._key[-5:]}", "dataset": DATASET, "encoding": "dbn"}
        self.say(**{**given, **self._fields})
        answer = self.line()
        if not answer.startswith("success=1"):
            raise Refused(answer)

    def __exit__(self, *failure: object) -> None:
        self.socket.close()

    def say(self, **fields: object) -> None:
        """Send one line."""
        text = "|".join(f"{name}={value}" for name, value in fields.items())
        self.socket.sendall(f"{text}\n".encode())

    def line(self) -> str:
        """Return the next line of text, '' at the end."""
        while b"\n" not in self.text:
            data = self.socket.recv(1)  # no byte of the stream behind it
            if not data:
                return ""
            self.text += data
        line, _, self.text = self.text.partition(b"\n")
        return line.decode()

    def start(self, *subscriptions: dict[str, object]) -> None:
        """Subscribe, each to MBO of all symbols unless it says otherwise, and start."""
        for number, one in enumerate(subscriptions):
            usual = {"schema": "mbo", "stype_in": "raw_symbol", "symbols": "ALL_SYMBOLS"}
            self.say(**{**usual, "id": number, "is_last": 1, **one})
        self.say(start_session=0)

    def rest(self) -> bytes:
        """Return all bytes until the session ends."""
        found = []
        try:
            while data := self.socket.recv(1 << 16):
                found.append(data)
        except ConnectionResetError:
            found.append(b"")
        return b"".join(found)


def records_of(stream: bytes) -> list[Record]:
    """Take a DBN stream apart; what is cut at its end is left out."""
    assert stream[:3] == b"DBN"
    at = 8 + struct.unpack_from("<I", stream, 4)[0]
    found = []
    while at < len(stream) and at + stream[at] * 4 <= len(stream):
        size = stream[at] * 4
        found.append(Record(stream[at + 1], stream[at : at + size]))
        at += size
    return found


def orders_of(stream: bytes) -> NDArray[np.void]:
    """Return the MBO records of a stream, (n,) of MBO_DTYPE; without what ts_out adds."""
    data = b"".join(one.data[:56] for one in records_of(stream) if one.rtype == 0xA0)
    return np.frombuffer(data, MBO_DTYPE)


def unpacked(stream: bytes) -> bytes:
    """Return what a compressed stream holds so far."""
    return zstandard.ZstdDecompressor().decompressobj().decompress(stream)


def order_events(
    count: int, seed: int = 1, instruments: int = 3, step_ns: int = 3_000_000
) -> NDArray[np.void]:
    """Return `count` MBO records of MBO_DTYPE: any actions, few orders and prices, all in time."""
    drawn = np.random.default_rng(seed)
    found = np.zeros(count, MBO_DTYPE)
    found["length"], found["rtype"], found["publisher_id"] = 14, 0xA0, 1
    found["instrument_id"] = drawn.integers(1, instruments + 1, count)
    found["order_id"] = drawn.integers(1, 12, count)
    found["price"] = drawn.integers(1, 4, count) * 250_000_000
    found["size"] = drawn.integers(0, 6, count)
    shares = [0.35, 0.25, 0.25, 0.05, 0.05, 0.02, 0.03]
    found["action"] = drawn.choice(np.frombuffer(b"ACMTFRN", np.uint8), count, p=shares)
    found["side"] = drawn.choice(np.frombuffer(b"AB", np.uint8), count)
    found["flags"] = 128
    found["ts_recv"] = START_NS + np.cumsum(drawn.integers(0, step_ns, count))
    found["ts_event"] = found["ts_recv"] - 1000
    found["sequence"] = np.arange(count)
    cleared = found["action"] == ord("R")
    found["price"][cleared] = UNDEF_PRICE
    return found


def little_market(count: int = 2000, seed: int = 1, **changes: Any) -> Tape:
    """Return a tape of MBO records of three instruments: a future and two options."""
    events = order_events(count, seed, **changes)
    listed = [Listed(1, "NQH6", "NQ.FUT"), Listed(2, "NQH6 C21000", "NQ.OPT"),
              Listed(3, "NQH6 P21000", "NQ.OPT")]  # fmt: skip
    return Tape(DATASET, [Part("mbo", events.view(np.uint8).reshape(-1, 56))], listed)


def play(tape: Tape, *subscriptions: dict[str, object], faults: list[Fault] | None = None,
         **fields: object) -> bytes:  # fmt: skip
    """Serve one session to a raw client; return all bytes of its stream."""
    market = Market(tape, faults=Faults(faults or []))
    with Gateway(market) as gateway, WireClient(gateway.port, **fields) as client:
        client.start(*subscriptions or ({},))
        return client.rest()


def refusal(gateway: Gateway, **fields: str) -> str:
    """Return what a client is told that is not let in."""
    try:
        with WireClient(gateway.port, **fields):
            return ""
    except Refused as refused:
        return str(refused)


def code_of(data: bytes, rtype: int) -> int:
    """Return the code of a system or an error record."""
    return data[-1] if rtype == SYSTEM else data[-2]
