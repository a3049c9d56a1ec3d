"""A market that happens now, at a rate that is asked for: the sending half of live benchmarks.

A process of its own speaks the live protocol to one client and sends a file's records over and
over, each stamped with the moment it is sent at, so that the receiver's lag is real time. The
snapshot that the file begins with is sent once, as fast as it is taken.

    python -m bench.live_source FILE DEFINITIONS BASE_NS RATE:SECONDS... with `burst:N` for N
    records at once

prints the port and the monotonic ns at which the market's clock says BASE_NS; at the end, how many
records it has sent.
"""

from __future__ import annotations

import secrets
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import zstandard

from ifd_fast.gateway_control import ControlLines
from ifd_fast.gateway_protocol import encode_line
from ifd_fast.gateway_records import encode_live_header, encode_system
from ifd_fast.live_messages import SystemCode
from ifd_kernels.layout import F_SNAPSHOT, MBO_BYTES

__all__ = ["MBO"]

MBO: Final = np.dtype(
    {
        "names": ["ts_event", "flags", "ts_recv"],
        "formats": ["<u8", "u1", "<u8"],
        "offsets": [8, 36, 40],
        "itemsize": MBO_BYTES,
    }
)
CAPTURE_NS: Final = 20_000  # from ts_event to ts_recv
MOST: Final = 4_096  # records sent at once
REPLAYS: Final = ("definition", "statistics")  # asked for with a start: each is told to be over


def read_records(path: Path) -> np.ndarray:
    """Return a file's records (n,) of MBO, writable."""
    raw = np.fromfile(path, np.uint8)
    begin = 8 + int.from_bytes(raw[4:8].tobytes(), "little")
    return raw[begin : begin + (len(raw) - begin) // MBO_BYTES * MBO_BYTES].view(MBO)


def read_definitions(path: Path) -> bytes:
    """Return a compressed file's records, without its header."""
    with path.open("rb") as file:
        data: bytes = zstandard.ZstdDecompressor().stream_reader(file).read()
    return data[8 + int.from_bytes(data[4:8], "little") :]


class Market:
    """Records to come, stamped as they are taken."""

    def __init__(self, records: np.ndarray, base_ns: int) -> None:
        self.records = records
        self.base_ns = base_ns
        self.began_ns = time.monotonic_ns()
        self.first = int((records["flags"] & F_SNAPSHOT != 0).sum())  # what is sent over and over
        self.place = 0
        self.sent = 0

    def now_ns(self) -> int:
        """Return the market's time, ns UTC."""
        return self.base_ns + time.monotonic_ns() - self.began_ns

    def take(self, count: int, at_ns: int) -> Any:
        """Return the next records, `count` at most, as they were captured at `at_ns`."""
        if self.place == len(self.records):
            self.place = self.first
        part = self.records[self.place : self.place + min(count, MOST)]
        self.place += len(part)
        self.sent += len(part)
        part["ts_recv"] = at_ns
        part["ts_event"] = at_ns - CAPTURE_NS
        return part.view(np.uint8).data


def rounds(plan: list[str]) -> Iterator[tuple[float, float, int]]:
    """Yield (records a second, seconds, records) of each part of a plan; a burst has no rate."""
    for part in plan:
        rate, _, much = part.partition(":")
        if rate == "burst":
            yield 0.0, 0.0, int(much)
        else:
            yield float(rate), float(much), round(float(rate) * float(much))


def send_round(client: socket.socket, market: Market, rate: float, records: int) -> None:
    """Send `records`, never before their time: all that are due by now go at once.

    Those of a burst are all due as it begins, however long the receiver lets it wait.
    """
    began_s, sent = time.monotonic(), 0
    burst_ns = market.now_ns()
    while sent < records:
        due = records if not rate else int((time.monotonic() - began_s) * rate)
        count = min(due, records) - sent
        if count <= 0:
            continue
        data = market.take(count, market.now_ns() if rate else burst_ns)
        client.sendall(data)
        sent += len(data) // MBO_BYTES


def serve(listener: socket.socket, market: Market, definitions: bytes, plan: list[str]) -> None:
    """Serve one client: definitions, the snapshot, then what the plan says."""
    client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(encode_line(lsg_version="0.8.0") + encode_line(cram=secrets.token_hex(16)))
    lines = ControlLines(client)
    lines.read_fields(30.0)  # whoever comes is let in: it's a benchmark's own process
    client.sendall(encode_line(success=1, session_id=1))
    lines.read_until_start()
    client.setblocking(True)
    client.sendall(encode_live_header("GLBX.MDP3", market.base_ns, ts_out=False) + definitions)
    for schema in REPLAYS:
        text = f"Finished {schema} replay"
        client.sendall(encode_system(market.base_ns, SystemCode.REPLAY_COMPLETED, text))
    while market.place < market.first:
        client.sendall(market.take(market.first - market.place, market.now_ns()))
    for rate, _, records in rounds(plan):
        send_round(client, market, rate, records)
    client.shutdown(socket.SHUT_WR)
    client.settimeout(5.0)
    while client.recv(4096):  # until the other side has hung up
        pass


def main(file: str, definitions: str, base_ns: str, *plan: str) -> None:
    """Listen, say where, and serve."""
    records, listed = read_records(Path(file)), read_definitions(Path(definitions))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        market = Market(records, int(base_ns))
        print(listener.getsockname()[1], market.began_ns, flush=True)
        serve(listener, market, listed, list(plan))
        print(market.sent, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
