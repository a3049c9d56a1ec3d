"""Where the loop's time goes, to the instruction: `perf` samples a replay's compiled code.

Counts (`./dev count`) say what is executed; they can't say what waits. This samples the engine's
loop (or the book's alone) on a workload, disassembles the machine code where it stands in memory,
and prints the places where most samples fell, each with the instructions before it. A sample
falls on the instruction after the one that was waited for. Needs Linux's `perf` and `objdump`.

    python -m bench.hotspots w2 [--book] [--places 5] [--records 10000000]
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from bench import contract

__all__ = ["main"]

SAMPLES_PER_S: Final = 15_000
BEFORE: Final = 8  # instructions shown before each place
_INSTRUCTION: Final = re.compile(r"\s*([0-9a-f]+):\t[0-9a-f ]+?\s*\t(.*)")


def sample(arguments: list[str], folder: Path, *, whole: bool) -> Counter[int]:
    """Replay twice under `perf` and return the number of samples by address."""
    contract.one_pass(arguments, whole=whole)  # kernels loaded, files read
    data = folder / "perf.data"
    command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_S), "-o", str(data)]
    with subprocess.Popen([*command, "-p", str(os.getpid())]) as perf:
        time.sleep(0.5)  # until it is attached
        for _ in range(2):
            costs, events = contract.one_pass(arguments, whole=whole)
        perf.send_signal(signal.SIGINT)
    spent = sum(costs.values()) / events
    print(f"{spent:.1f} ns an event while sampled, {events / 1e6:.0f} M events")
    said = subprocess.run(
        ["perf", "script", "-i", str(data), "-F", "ip"], capture_output=True, text=True, check=True
    ).stdout
    return Counter(int(word, 16) for word in said.split())


def compiled_regions() -> list[tuple[int, int]]:
    """Return the (start, end) of memory that holds machine code and no file does."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, rights, *rest = line.split()
        if "x" in rights and not any(word.startswith(("/", "[")) for word in rest):
            first, last = (int(address, 16) for address in place.split("-"))
            found.append((first, last))
    return found


def disassemble(first: int, last: int, folder: Path) -> list[tuple[int, str]]:
    """Return (address, text) of each instruction between two addresses of this process."""
    code = folder / "code.bin"
    code.write_bytes(ctypes.string_at(first, last - first))
    command = ["objdump", "-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel"]
    said = subprocess.run(
        [*command, f"--adjust-vma={first:#x}", str(code)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    matches = (_INSTRUCTION.match(line) for line in said.splitlines())
    return [(int(match[1], 16), match[2]) for match in matches if match]


def show(hits: Counter[int], places: int, folder: Path) -> None:
    """Print the share of compiled code, then its places with most samples."""
    total = sum(hits.values())
    regions = [
        (sum(count for at, count in hits.items() if first <= at < last), first, last)
        for first, last in compiled_regions()
    ]
    inside = sum(count for count, _, _ in regions)
    print(f"{total} samples, {inside / total:.0%} of them in compiled kernels")
    instructions: list[tuple[int, str]] = []
    for count, first, last in regions:
        if count > total / 100:
            instructions += disassemble(first, last, folder)
    order = {address: place for place, (address, _) in enumerate(instructions)}
    best = [(at, count) for at, count in hits.most_common() if at in order][:places]
    for at, count in best:
        print(f"\n{count / total:6.1%} at {at:x}")
        stop = order[at] + 1
        for address, text in instructions[max(stop - BEFORE, 0) : stop]:
            print(f"  {hits[address] / total:6.2%}  {text}")


def main() -> None:
    """Sample one workload and print its places."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("workload", choices=("w1", "w2"))
    parser.add_argument("--book", action="store_true", help="framing and the book alone")
    parser.add_argument("--places", type=int, default=5, metavar="N", help="as many (default 5)")
    parser.add_argument("--records", type=int, default=10_000_000, metavar="N")
    chosen = parser.parse_args()
    missing = [name for name in ("perf", "objdump") if shutil.which(name) is None]
    if missing:
        sys.exit(f"hotspots needs {' and '.join(missing)}: install linux-perf and binutils.")
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as name:
        folder = Path(name)
        arguments = contract.workload(folder, chosen.workload, chosen.records)
        show(sample(arguments, folder, whole=not chosen.book), chosen.places, folder)


if __name__ == "__main__":
    main()
