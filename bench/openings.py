"""The workload of the memory row: W2, with 1,000 instruments more every 10 s of event time.

The simulator's stream is left as it is; between its chunks stand the definitions of new
instruments and a few orders and a trade of each. Nothing is written to disk: the stream goes
through a pipe to a replay in a process of its own, which alone is measured. Either the ids are
those of instruments that were opened a minute before (`reused`: these are retired), or all are
new (`fresh`: nothing says that an instrument is over).

    python -m bench.openings [--records N] [--ids reused|fresh] [--no-openings]
"""

from __future__ import annotations

import argparse
import datetime as dt
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
from numpy.typing import NDArray

from ifd_fast.dbnwriter import DbnWriter, encode_definitions, encode_header
from ifd_fast.optionchain import Listing
from ifd_fast.simulated_files import pick_sessions
from ifd_fast.simulation import PREOPEN_NS, Simulation
from ifd_fast.world import load_world
from ifd_kernels import layout

__all__ = ["Openings", "measure"]

ROOT: Final = Path(__file__).resolve().parent.parent
TRADE_DATE: Final = dt.date(2026, 2, 2)  # after the 20 sessions of `test_baselines.fill_store`
EVERY_NS: Final = 10 * layout.SECOND_NS
BATCH: Final = 1_000  # instruments opened at once
BATCHES_LIVE: Final = 6  # a minute, then `reused` ids mean other instruments
ALL: Final = 2**16  # no id is used again
IDS_FIRST: Final = 50_000_000  # above the simulator's
ORDERS_FIRST: Final = 10**15
SAMPLE_BYTES: Final = 5_000_000 * layout.MBO_BYTES

WIRE: Final = np.dtype(
    [
        ("length", "u1"), ("rtype", "u1"), ("publisher_id", "<u2"), ("instrument_id", "<u4"),
        ("ts_event", "<u8"), ("order_id", "<u8"), ("price", "<i8"), ("size", "<u4"),
        ("flags", "u1"), ("channel_id", "u1"), ("action", "u1"), ("side", "u1"),
        ("ts_recv", "<u8"), ("ts_in_delta", "<i4"), ("sequence", "<u4"),
    ]
)  # fmt: skip
# What each new instrument does: action, side, order, nickels from its price.
STORY: Final = (
    ("A", "B", 0, -1),
    ("A", "A", 1, 1),
    ("A", "A", 2, 2),
    ("T", "B", 0, 1),
    ("C", "A", 1, 1),
)


class Openings:
    """Batches of new instruments: their definitions, then their orders and trades, as bytes."""

    def __init__(
        self,
        future: Listing,
        expiration_ns: int,
        *,
        batch: int = BATCH,
        batches_live: int = BATCHES_LIVE,
        first_id: int = IDS_FIRST,
    ) -> None:
        self.batches = 0
        self._batch = batch
        self._turns = batches_live
        self._first = first_id
        strike = 21_000.0
        self._model = Listing(
            *(1, "S" * 20, "C", "NEW", future.symbol, future.instrument_id, strike),
            expiration_ns,
            (),
        )

    def next_ids(self) -> NDArray[np.int64]:
        """Return the ids of the next batch."""
        return self._first + self.batches % self._turns * self._batch + np.arange(self._batch)

    def batch(self, ts_ns: int) -> bytes:
        """Return the next batch, received at `ts_ns`."""
        ids = self.next_ids()
        records = self._define(ids, ts_ns) + self._trade(ids, ts_ns).tobytes()
        self.batches += 1
        return records

    def _define(self, ids: NDArray[np.int64], ts_ns: int) -> bytes:
        count = self._batch
        model = np.frombuffer(encode_definitions([self._model], ts_ns), np.uint8)
        text = model.tobytes()
        records = np.tile(model, (count, 1))
        records[:, 4:8] = ids.astype("<u4").view(np.uint8).reshape(count, 4)
        strike = text.index(int(self._model.strike * 1e9).to_bytes(8, "little"))
        # 500 strikes of this batch's own, calls and puts: each has its twin
        strikes = 10_000 * 10**9 + (self.batches * count + np.arange(count) // 2 * 2) * 10**7
        records[:, strike : strike + 8] = strikes.astype("<i8").view(np.uint8).reshape(count, 8)
        names = [f"NEWH6 {self.batches:06d}-{number:04d}".ljust(20) for number in range(count)]
        symbol = text.index(b"S" * 20)
        records[:, symbol : symbol + 20] = np.array(names, "S20").view(np.uint8).reshape(count, 20)
        kind = text.index(b"C", text.index(b"OCAFPS") + 6)
        records[1::2, kind] = ord("P")
        return records.tobytes()

    def _trade(self, ids: NDArray[np.int64], ts_ns: int) -> NDArray[np.void]:
        records = np.zeros((self._batch, len(STORY)), WIRE)
        records["length"], records["rtype"] = layout.MBO_BYTES // 4, layout.RTYPE_MBO
        records["publisher_id"] = 1
        records["instrument_id"] = ids[:, None]
        records["ts_event"] = records["ts_recv"] = ts_ns
        records["flags"] = layout.F_LAST
        first = (
            ORDERS_FIRST
            + self._first * 1_000_000
            + self.batches * self._batch * 3
            + np.arange(self._batch) * 3
        )
        for place, (action, side, order, nickels) in enumerate(STORY):
            one = records[:, place]
            one["action"], one["side"] = ord(action), ord(side)
            one["order_id"] = 0 if action == "T" else first + order
            one["price"] = 50_000_000_000 + nickels * 50_000_000
            one["size"] = 1 + np.arange(self._batch) % 3
        return records


def stream(pipe: BinaryIO, records: int, openings: Openings | None, simulation: Simulation) -> None:
    """Write the whole stream to `pipe`: header, and records with openings between them."""
    first_ns = simulation.start_ns - PREOPEN_NS
    header = encode_header(
        "mbo", simulation.chain, first_ns, simulation.end_ns, TRADE_DATE, records
    )
    pipe.write(header)
    next_ns = simulation.start_ns
    for chunk in simulation:
        pipe.write(chunk.data)
        if not len(chunk) or openings is None:
            continue
        now_ns = int(chunk[-7 + 1])  # the last record's ts_event
        while now_ns >= next_ns:
            pipe.write(openings.batch(now_ns))
            next_ns += EVERY_NS


class Piped(io.RawIOBase):
    """Standard input as a file of unknown size: its first bytes can be read twice."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._head = pipe.read(12)
        self._again = b""
        self._at = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go back to the start, before anything but the first bytes was read."""
        self._again = self._head if offset == 0 and whence == 0 else b""
        return 0

    def readinto(self, buffer: Any) -> int:
        """Read what there is."""
        if self._again:
            taken = min(len(buffer), len(self._again))
            buffer[:taken], self._again = self._again[:taken], self._again[taken:]
            return taken
        return int(self._pipe.readinto(buffer))  # type: ignore[attr-defined]  # it is buffered


def resident_mb(field: str) -> float:
    """Return VmRSS or VmHWM of this process, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/self/status has no {field}")


def watch(definitions: str, store: str) -> dict[str, Any]:
    """Replay standard input in this process; return what was resident on the way."""
    from ifd_fast.replaying import replay

    samples: list[list[float]] = []

    def sample(bytes_read: int, bytes_total: int, records: int) -> None:
        del bytes_total  # of a pipe, unknown
        if bytes_read >= len(samples) * SAMPLE_BYTES:
            samples.append([records / 1e6, resident_mb("VmRSS")])

    with tempfile.TemporaryDirectory() as out:
        result = replay(
            Piped(sys.stdin.buffer),
            definitions=[definitions],
            baselines=store,
            out=out,
            progress=sample,
        )
        counts = result.counts
    return {
        "samples": samples,
        "peak_mb": resident_mb("VmHWM"),
        "events": counts["events"],
        "instruments": counts["instruments"],
        "live_orders": counts["live_orders"],
        "instants": counts["instants_scored"],
        "sessions_of_history": len(result.document["baselines"]),
    }


def measure(folder: Path, records: int, *, ids: str = "reused") -> dict[str, Any]:
    """Simulate W2 into a replay with 20 sessions of history; return what `watch` saw.

    `ids`: `reused`, `fresh`, or `none` for W2 as it is.
    """
    from bench.test_baselines import fill_store

    store = folder / "history.duckdb"
    if not store.exists():
        fill_store(store, 10_000)
    simulation = Simulation(load_world("w2"), 1, pick_sessions(TRADE_DATE, 1)[0], (), records)
    definitions = folder / "w2.definition.dbn"
    first_ns, last_ns = simulation.start_ns - PREOPEN_NS, simulation.end_ns
    header = encode_header("definition", simulation.chain, first_ns, last_ns, TRADE_DATE)
    with DbnWriter(definitions, header) as writer:
        writer.write(encode_definitions(simulation.chain, first_ns))
    future, option = simulation.chain[0], simulation.chain[5_000]
    openings = Openings(
        future, option.expiration_ns, batches_live=BATCHES_LIVE if ids == "reused" else ALL
    )
    command = [sys.executable, "-m", "bench.openings", "--watch", str(definitions), str(store)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        pipe = cast("BinaryIO", child.stdin)
        stream(pipe, records, None if ids == "none" else openings, simulation)
        child.stdin.close()
        found: dict[str, Any] = json.loads(child.stdout.read())
    if child.returncode:
        raise RuntimeError(f"the replay ended with {child.returncode}")
    return {"opened": openings.batches * BATCH, **found}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the memory of a replay of W2.")
    parser.add_argument("--records", type=int, default=200_000_000)
    parser.add_argument("--ids", choices=("reused", "fresh", "none"), default="reused")
    parser.add_argument("--watch", nargs=2, metavar=("DEFINITIONS", "STORE"))
    return parser.parse_args()


def main() -> None:
    """Print a sample of resident memory each 5 M records, then the peak."""
    options = _options()
    if options.watch:
        print(json.dumps(watch(*options.watch)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.records, ids=options.ids)
    for millions, resident in found.pop("samples"):
        print(f"{millions:8.1f} M records {resident:8.1f} MB")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
