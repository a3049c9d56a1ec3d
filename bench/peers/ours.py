"""Our side of the comparison: `ifd_fast.replay`, with full books, windows and scores."""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

from bench.peers.paths import count_records


def measure(file: Path, definitions: list[Path], rounds: int) -> dict[str, object]:
    """Replay `file` `rounds` times into a folder and return the middle of the seconds."""
    import ifd_fast
    from ifd_fast import warming

    warming.warm_up()
    seconds, trades = [], 0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            result = ifd_fast.replay(file, definitions=definitions, out=folder)
            seconds.append(time.perf_counter() - started)
            trades = int(result.windows["total_trades"].sum())
    records = count_records(file)
    middle = sorted(seconds)[len(seconds) // 2]
    return {
        "path": "ifd_fast",
        "file": file.name,
        "records": records,
        "seconds": round(middle, 4),
        "records_per_s": round(records / middle),
        "trades": trades,  # size 0, off session and UNDEF are left out; the peers count them
        "resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--definitions", type=Path, nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.file, arguments.definitions, arguments.rounds)))


if __name__ == "__main__":
    main()
