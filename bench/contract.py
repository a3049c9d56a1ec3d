"""Measure the rows of the design's table of numbers and write bench/results/contract.json.

Each row names what is measured, its bound, the workload and the command that makes it; `./dev
report` turns them into BENCHMARKS.md. Wall times are the best of several passes: the machine's
neighbours only ever add. Run one row with `python -m bench.contract NAME`, all without a name.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

ROOT: Final = Path(__file__).resolve().parent.parent
RESULT: Final = ROOT / "bench" / "results" / "contract.json"
RECORDS: Final = 10_000_000
PASSES: Final = 3
SLICE: Final = 8_192  # events a call, as in a replay

ROWS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {}


def row(function: Callable[[Path], list[dict[str, Any]]]) -> Callable[[Path], list[dict[str, Any]]]:
    """Register one measurement under its function's name."""
    ROWS[function.__name__] = function
    return function


def fact(
    what: str,
    bound: str,
    measured: str,
    met: bool,  # noqa: FBT001
    workload: str,
) -> dict[str, Any]:
    """Return one line of the table."""
    return {
        "what": what,
        "bound": bound,
        "measured": measured,
        "met": "yes" if met else "no",
        "workload": workload,
    }


def workload(folder: Path, preset: str, records: int, *, compress: bool = False) -> list[str]:
    """Simulate a workload once; return the arguments that replay it."""
    out = folder / f"{preset}-{records}-{'zst' if compress else 'dbn'}"
    if not out.exists():
        run_ifd(
            "simulate", "--preset", preset, "--records", str(records), "--out", str(out),
            "--compress" if compress else "--no-compress",
        )  # fmt: skip
        os.sync()  # or a replay competes with its own file on the way to the disk
    market = sorted(map(str, out.glob("*.mbo.dbn*")))
    definitions = sorted(map(str, out.glob("*.definition.dbn*")))
    return [*market, "--definitions", *definitions]


def run_ifd(*arguments: str) -> float:
    """Run the command line in a process of its own; return its wall time in seconds."""
    command = [sys.executable, "-m", "ifd_fast", *arguments]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - began


def replay_rate(arguments: list[str], passes: int = PASSES) -> tuple[float, float, int]:
    """Return the best wall and CPU seconds of replays in this process, and the events."""
    from ifd_fast.replaying import replay

    at = arguments.index("--definitions")
    best_wall, best_cpu, events = np.inf, np.inf, 0
    for _ in range(passes):
        wall, cpu = time.perf_counter(), time.process_time()
        result = replay(arguments[:at], definitions=arguments[at + 1 :])
        best_wall = min(best_wall, time.perf_counter() - wall)
        best_cpu = min(best_cpu, time.process_time() - cpu)
        events = result.counts["events"]
    return best_wall, best_cpu, events


def kernel_costs(arguments: list[str], *, whole: bool) -> dict[str, float]:
    """Return ns an event of the whole loop, framing and all, or else of framing and book apart.

    Apart, because each has an order table that fills a cache which both would share.
    """
    best: dict[str, float] = {}
    for _ in range(PASSES):
        costs, events = one_pass(arguments, whole=whole)
        for name, spent in costs.items():
            best[name] = min(best.get(name, np.inf), spent / events)
    return best


def one_pass(arguments: list[str], *, whole: bool) -> tuple[dict[str, int], int]:
    """Return the ns of one replay, of framing and of the rest, and its events."""
    from ifd_fast import books
    from ifd_fast.calendar import load_sessions
    from ifd_fast.config import load_settings
    from ifd_fast.engine import FlowEngine
    from ifd_fast.framing import Framer
    from ifd_fast.sources import open_source
    from ifd_kernels.layout import CONSUMED, PUBLISHED

    profile = load_settings().profile
    engine = FlowEngine(profile, load_sessions())
    ring, cursor = engine.state.ring, engine.state.ring.cursor
    alone = books.allocate(engine.instruments.capacity, profile.book_capacity_orders)
    source = open_source(arguments[0])
    framer = Framer(ring, source.header.version, max_events=SLICE)
    costs, events = {"frame": 0, "apply": 0}, 0
    for chunk in source.chunks():
        if whole:  # frames and resolves too
            began = time.thread_time_ns()
            engine.feed(framer, chunk)
            costs["apply"] += time.thread_time_ns() - began
            engine.take_rows()
            engine.take_signals()
            continue
        frames = framer.frames(chunk)
        while True:
            began = time.thread_time_ns()
            handed = next(frames, None)
            costs["frame"] += time.thread_time_ns() - began
            if handed is None:
                break
            start, stop = int(cursor[CONSUMED]), int(cursor[PUBLISHED])
            events += stop - start
            began = time.thread_time_ns()
            engine.instruments.resolve(ring, start, stop)
            began = time.thread_time_ns()
            alone = books.add_slots(alone, engine.instruments.capacity)
            alone = books.apply(ring, start, stop, alone)
            cursor[CONSUMED] = stop
            costs["apply"] += time.thread_time_ns() - began
    return costs, events or framer.counts()["events"]


@row
def kernels(folder: Path) -> list[dict[str, Any]]:
    """Measure framing, book, and all kernels from wire to windows."""
    rows = []
    for preset, book_ns, all_ns in (("w1", 40, 60), ("w2", 90, 110)):
        arguments = workload(folder, preset, RECORDS)
        spent = kernel_costs(arguments, whole=True)
        apart = kernel_costs(arguments, whole=False)
        label = f"{preset.upper()}, {RECORDS // 1_000_000} M records"
        total = sum(spent.values())
        if preset == "w1":
            rows.append(_ns("frame + transpose to the ring", 8, apart["frame"], label))
        rows.append(_ns("book with BBO", book_ns, apart["apply"], label))
        rows.append(_ns("all kernels, wire to windows, one core", all_ns, total, label))
    return rows


def _ns(what: str, bound: float, measured: float, label: str) -> dict[str, Any]:
    return fact(what, f"≤ {bound} ns/event", f"{measured:.1f} ns/event", measured <= bound, label)


@row
def replays(folder: Path) -> list[dict[str, Any]]:
    """Measure replay of a raw file, and of a compressed one against its two halves."""
    raw = workload(folder, "w1", RECORDS)
    wall, cpu, events = replay_rate(raw)
    rate = events / wall / 1e6
    packed = workload(folder, "w1", RECORDS, compress=True)
    zst_wall, _, _ = replay_rate(packed)
    alone = min(_decompress(packed[0]) for _ in range(PASSES))
    ratio = zst_wall / max(alone, wall)
    label = f"W1, {events / 1e6:.0f} M records"
    return [
        fact(
            "replay of .dbn to windows and signals, scored each second, one core",
            "≥ 15 M records/s",
            f"{rate:.1f} M records/s ({cpu / events * 1e9:.0f} ns CPU/record)",
            rate >= 15,
            label,
        ),
        fact(
            "replay of .dbn.zst, two cores, against the slower half",
            "≤ 1.15 x",
            f"{ratio:.2f} x ({zst_wall:.2f} s; decompression {alone:.2f}, raw {wall:.2f})",
            ratio <= 1.15,
            label,
        ),
    ]


def _decompress(path: str) -> float:
    from ifd_fast.sources import open_source

    began = time.perf_counter()
    with open_source(path) as source:
        for _ in source.chunks():
            pass
    return time.perf_counter() - began


@row
def live(folder: Path) -> list[dict[str, Any]]:
    """Measure live sessions, the official client beside: a quarter of an hour."""
    from bench.live_contract import measure_live

    return [fact(*one) for one in measure_live(workload(folder, "w1", RECORDS), folder)]


@row
def rescoring(folder: Path) -> list[dict[str, Any]]:
    """Measure both stages of a re-scoring, over two W1 sessions and over sixty light ones."""
    from bench.rescore_numbers import measure_rescoring

    raw = [one for one in workload(folder, "w1", RECORDS) if one != "--definitions"]
    out = folder / "w1-twice"
    run_ifd(
        "simulate", "--preset", "w1", "--records", str(RECORDS), "--sessions", "2", "--out",
        str(out), "--compress",
    )  # fmt: skip
    packed = sorted(map(str, out.glob("*.dbn.zst")))
    return [fact(*one) for one in measure_rescoring(raw, packed, folder)]


@row
def linear(folder: Path) -> list[dict[str, Any]]:
    """Measure cost per record at 1, 10 and 100 M records, and the memory it took."""
    costs, peaks = [], []
    for records in (1_000_000, 10_000_000, 100_000_000):
        arguments = workload(folder, "w1", records)
        code = (
            "import json,sys\n"
            "from bench.contract import replay_rate\n"
            "from bench.openings import resident_mb\n"
            "w,c,n=replay_rate(json.loads(sys.argv[1]),1)\n"
            "print(json.dumps([w,c,n,resident_mb('VmHWM')]))\n"  # not its parent's peak
        )
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(arguments)],
            check=True, capture_output=True, text=True, cwd=ROOT,
        )  # fmt: skip
        _, cpu, events, peak = json.loads(done.stdout)
        costs.append(cpu / events * 1e9)
        peaks.append(peak)
        if records > RECORDS:
            Path(arguments[0]).unlink()
    measured = " / ".join(f"{cost:.0f}" for cost in costs)
    memory = " / ".join(f"{peak:.0f}" for peak in peaks)
    flat = costs[2] <= 1.1 * costs[1]
    return [
        fact(
            "cost linear in events: ns CPU a record at 1 / 10 / 100 M (the first with start-up)",
            "100 M within 10 % of 10 M",
            f"{measured} ns; resident {memory} MB",
            flat,
            "W1",
        )
    ]


@row
def memory(folder: Path) -> list[dict[str, Any]]:
    """Measure the resident memory of W2 while instruments open, with 20 sessions of history."""
    from bench.openings import measure

    run_ifd("warm-up")  # a first start would hold the compiler's memory
    found = measure(folder, 20 * RECORDS)
    millions, resident = zip(*found["samples"], strict=True)
    half = next(mb for at, mb in zip(millions, resident, strict=True) if at >= max(millions) / 2)
    growth = resident[-1] - half
    series = " / ".join(f"{mb:.0f}" for mb in resident[1::13])
    return [
        fact(
            "memory: W2, 20 sessions of history, 1,000 instruments more every 10 s",
            "≤ 600 MB resident, flat over 200 M records",
            f"peak {found['peak_mb']:.0f} MB; {series} on the way; "
            f"{growth:+.0f} MB in the second half",
            found["peak_mb"] <= 600 and abs(growth) <= 30,
            f"W2, {found['events'] / 1e6:.0f} M records, {found['opened']:,} opened, "
            "each id used again a minute later",
        )
    ]


@row
def baselines(folder: Path) -> list[dict[str, Any]]:
    """Measure a rebuild of the estimates from 20 sessions of 10,000 instruments."""
    from bench.test_baselines import LIMIT_MB, LIMIT_S, fill_store, measure_apart

    store = folder / "rebuild.duckdb"
    fill_store(store, 10_000)
    runs = [measure_apart(store) for _ in range(PASSES)]
    seconds, peak = min(run["seconds"] for run in runs), max(run["peak_mb"] for run in runs)
    cpu = min(run["cpu_seconds"] for run in runs)
    return [
        fact(
            "baseline rebuild, 20 sessions x 276 windows x 10,000 instruments, 5 % traded",
            f"≤ {LIMIT_S:.0f} s, ≤ {LIMIT_MB} MB",
            f"{seconds:.2f} s ({cpu:.2f} s CPU), {peak:.0f} MB",
            seconds <= LIMIT_S and peak <= LIMIT_MB,
            "generated facts",
        )
    ]


@row
def starts(folder: Path) -> list[dict[str, Any]]:
    """Measure the first start ever, a later one, and the help."""
    small = workload(folder, "ci", 20_000)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NUMBA_CACHE_DIR"] = cache
        cold = run_ifd("replay", *small, "--quiet")
        warm = min(run_ifd("replay", *small, "--quiet") for _ in range(PASSES))
        del os.environ["NUMBA_CACHE_DIR"]
    helped = min(run_ifd("--help") for _ in range(5))
    return [
        fact("cold start, first ever", "≤ 20 s", f"{cold:.1f} s", cold <= 20, "ci, 20 k records"),
        fact("start after that", "≤ 1.5 s", f"{warm:.2f} s", warm <= 1.5, "the same"),
        fact("ifd --help", "≤ 0.25 s", f"{helped:.2f} s", helped <= 0.25, "-"),
    ]


def main() -> None:
    """Measure the rows named on the command line, or all; keep the others' last results."""
    chosen = sys.argv[1:] or list(ROWS)
    unknown = [name for name in chosen if name not in ROWS]
    if unknown:
        raise SystemExit(
            f"`{unknown[0]}` is no row: name any of {', '.join(ROWS)}, or none for all."
        )
    today = dt.datetime.now(dt.UTC).date().isoformat()
    kept = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        for name in chosen:
            command = f"python -m bench.contract {name}"
            kept = [one for one in kept if one["command"] != command]
            for one in ROWS[name](Path(folder)):
                kept.append({**one, "command": command, "date": today})
                print(f"{one['what']}: {one['measured']} (bound {one['bound']})", flush=True)
            document = {"cpu": _cpu(), "rows": kept}
            RESULT.parent.mkdir(parents=True, exist_ok=True)
            RESULT.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0] if names else platform.processor()}"


if __name__ == "__main__":
    main()
