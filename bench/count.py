"""The gate on change: what each kernel costs an event, counted by callgrind, not timed.

Run by `./dev count`. Wall time on a shared machine is off by tens of percent; counted
instructions repeat to 0.01 %, loaded or not. Blind to: branch prediction, AVX-512, real caches
and threads; the ratio floors of `./dev bench` stand in for those.

How: valgrind zeroes its counters when the C function getsid is entered and dumps them when
getpgid is, so `os.getsid(0); work(); os.getpgid(0)` counts the work alone. The first region is
thrown away (it binds symbols), the second is empty and gives the floor. The kernels come from the
usual cache, which a run without valgrind has filled for the one CPU of bench/cpu.py, so that the
code counted is the same on every machine; the simulated caches are pinned as well.
Fresh state is built, and the kernel's first call made, before anything is counted.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench.budget import Counts, compare, compare_versions, read, write
from bench.cpu import PINNED
from bench.instrumentation import start_instrumentation
from bench.regions_wire import framing_with_more_work
from bench.workloads import Thunk, load_regions
from ifd_kernels._jit import cache_folder

__all__ = ["main", "parse_dump", "run_regions"]

ROOT: Final = Path(__file__).resolve().parent.parent
VALGRIND: Final = (
    "--tool=callgrind",
    "--instr-atstart=no",
    "--zero-before=getsid*",
    "--dump-before=getpgid*",
    "--dump-instr=no",
    "--cache-sim=yes",
    "--I1=32768,8,64",
    "--D1=32768,8,64",
    "--LL=4194304,16,64",  # the caches are cold: a miss is a line touched first, or again too late
)
PROVEN: Final = "wire.frame_batch"  # the region that --prove slows down
DISCARDED: Final = 2  # dumps before the first region: symbol binding, then the floor


def environment(home: Path, kept: Path | None) -> dict[str, str]:
    """Return the environment that makes two counts of the same code the same.

    `kept` is this process's cache folder, <cache>/ifd-fast/<digest of the kernels>.
    """
    cache = home if kept is None else kept.parent.parent
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "LC_ALL": "C",
        "MALLOC_ARENA_MAX": "1",
        "NUMBA_CACHE_DIR": str(cache),
        "NUMBA_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}",  # this tree, whichever one is installed
        **PINNED,
    }


def versions() -> dict[str, str]:
    """Return the versions of everything that the counts depend on."""
    valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "numba": importlib.metadata.version("numba"),
        "llvmlite": importlib.metadata.version("llvmlite"),
        "numpy": importlib.metadata.version("numpy"),
        "valgrind": valgrind.stdout.strip(),
    }


def parse_dump(text: str) -> Counts:
    """Return the totals of one callgrind dump by measure."""
    events = re.search(r"^events: (.+)$", text, re.MULTILINE)
    totals = re.search(r"^(?:totals|summary): (.+)$", text, re.MULTILINE)
    if events is None or totals is None:
        raise ValueError("not a callgrind dump: no `events:` or no `totals:` line")
    # callgrind leaves out zeros at the end of a line
    numbers = [*map(int, totals[1].split())]
    names = events[1].split()
    numbers += [0] * (len(names) - len(numbers))
    by_name = dict(zip(names, numbers, strict=True))
    return {
        "instructions": by_name["Ir"],
        "data_reads": by_name["Dr"],
        "data_writes": by_name["Dw"],
        "ll_misses": by_name["ILmr"] + by_name["DLmr"] + by_name["DLmw"],
    }


def count_between_marks(thunk: Thunk) -> None:
    """Run `thunk` between the two calls that valgrind knows."""
    os.getsid(0)
    thunk()
    os.getpgid(0)


def run_regions(names: list[str], folder: str, *, more: bool) -> None:
    """Run the marked regions: the part that runs under valgrind, the collector off.

    `folder` is the cache that the first run filled: compiling under valgrind takes hours.
    """
    if folder not in {str(cache_folder()), "None"}:
        raise SystemExit("the kernels' sources changed while they were counted: count again")
    regions = load_regions()
    if more:
        regions |= {PROVEN: regions[PROVEN]._replace(setup=framing_with_more_work)}
    for name in names:
        regions[name].setup()()  # loads the kernel from the cache, binds its symbols
    thunks = [regions[name].setup() for name in names]
    start_instrumentation()
    for _ in range(DISCARDED):
        count_between_marks(lambda: None)
    for thunk in thunks:
        count_between_marks(thunk)


def count(names: list[str], folder: Path, *, more: bool = False) -> dict[str, Counts]:
    """Count the regions `names` under callgrind, dumps in `folder`; return counts per event.

    `more` has each do a twentieth of its work again.
    """
    kept, home = cache_folder(), folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    # without the collector from the start on: its passes over numba's objects are slow here
    work = (
        f"from bench.count import run_regions; run_regions({names!r}, {str(kept)!r}, more={more})"
    )
    child = [sys.executable, "-X", "frozen_modules=on", "-c", f"import gc; gc.disable(); {work}"]
    surroundings = environment(home, kept)
    subprocess.run(child, cwd=ROOT, env=surroundings, check=True)  # fills the cache
    dumps = folder / "dump"
    command = ["setarch", "-R", "valgrind", *VALGRIND, f"--callgrind-out-file={dumps}", *child]
    done = subprocess.run(
        command, cwd=ROOT, env=surroundings, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"valgrind failed:\n{done.stderr[-4000:]}")
    totals = [
        parse_dump(Path(f"{dumps}.{number}").read_text())
        for number in range(1, len(names) + DISCARDED + 1)
    ]
    floor = totals[DISCARDED - 1]
    regions = load_regions()
    return {
        name: {
            measure: max(total[measure] - floor[measure], 0) / regions[name].events
            for measure in floor
        }
        for name, total in zip(names, totals[DISCARDED:], strict=True)
    }


def chosen_names(only: list[str]) -> list[str]:
    """Return the names of the regions to count; a name that doesn't exist is refused."""
    regions = load_regions()
    unknown = sorted(set(only) - set(regions))
    if unknown:
        raise SystemExit(f"no region {', '.join(unknown)}. There are: {', '.join(regions)}")
    return only or list(regions)


def judge(counted: dict[str, Counts], *, complete: bool) -> list[str]:
    """Return every fault of `counted` against the committed budget."""
    budget_versions, budget = read()
    faults = compare_versions(versions(), budget_versions)
    for name, counts in counted.items():
        if name not in budget:
            faults.append(f"{name} has no budget: run `./dev count --update --only {name}`.")
        else:
            faults += compare(name, counts, budget[name])
    if complete:
        gone = sorted(set(budget) - set(counted))
        faults += [f"{name} has a budget but no region in bench/workloads.py." for name in gone]
    return faults


def update(counted: dict[str, Counts], *, complete: bool) -> None:
    """Write what was counted into the budget; a complete count replaces all of it."""
    budget_versions, budget = read()
    running = versions()
    if not complete and budget_versions not in ({}, running):
        raise SystemExit("versions changed: update the whole budget, without --only")
    write(running, counted if complete else budget | counted)


def prove() -> int:
    """Count one region as it is and with 5 % more work: the gate must pass one, fail the other."""
    judged = {}
    for title, more in (("as it is", False), ("with 5 % more work", True)):
        with tempfile.TemporaryDirectory() as scratch:
            counted = count([PROVEN], Path(scratch), more=more)
        judged[more] = judge(counted, complete=False)
        print(f"{PROVEN} {title}: {'FAILED' if judged[more] else 'passed'}")
        print("".join(f"  {fault}\n" for fault in judged[more]), end="")
    holds = bool(judged[True]) and not judged[False]
    print("the gate catches it" if holds else "the gate is broken")
    return 0 if holds else 1


def show(counted: dict[str, Counts]) -> None:
    """Print the counts per event as a table."""
    print(f"{'per event':<40} {'instr':>10} {'reads':>9} {'writes':>9} {'LL miss':>9}")
    for name, counts in counted.items():
        print(
            f"{name:<40} {counts['instructions']:>10.2f} {counts['data_reads']:>9.2f} "
            f"{counts['data_writes']:>9.2f} {counts['ll_misses']:>9.4f}"
        )


def parse_arguments() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description="Count what each kernel costs an event.")
    parser.add_argument("--update", action="store_true", help="write the counts as the new budget")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these regions only")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the dumps here")
    parser.add_argument("--prove", action="store_true", help="show that 5 %% more work is caught")
    return parser.parse_args()


def main() -> int:
    """Count, print, and compare with the budget or write it; 0 if all is within bounds."""
    arguments = parse_arguments()
    missing = [tool for tool in ("valgrind", "setarch") if shutil.which(tool) is None]
    if missing:
        raise SystemExit(
            f"no {' and '.join(missing)}: the count gate can't do without. Install it."
        )
    if arguments.prove:
        return prove()
    names = chosen_names(arguments.only)
    with tempfile.TemporaryDirectory() as scratch:
        counted = count(names, arguments.keep or Path(scratch))
    show(counted)
    if arguments.update:
        update(counted, complete=not arguments.only)
        return 0
    faults = judge(counted, complete=not arguments.only)
    print("\n".join(faults) or f"{len(counted)} regions within budget")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
