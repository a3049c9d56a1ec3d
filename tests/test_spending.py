"""The ledger: exact sums, a limit that holds between processes, and nothing lost by a kill."""

from __future__ import annotations

import datetime as dt
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from databento_dbn import Schema
from hypothesis import given, settings
from hypothesis import strategies as st

from ifd_fast.errors import AlreadyRunningError, BudgetError, DataError, IfdError, UsageError
from ifd_fast.pricing import SCHEMAS, DataRequest, Price
from ifd_fast.spending import Ledger, month_of
from tests.conftest import ROOT

pytestmark = pytest.mark.border

DAY_NS = 86_400_000_000_000
NOW_NS = int(dt.datetime(2026, 11, 23, 15, tzinfo=dt.UTC).timestamp()) * 1_000_000_000
CEILING = 450_000_000_000
REQUEST = DataRequest("GLBX.MDP3", "mbo", ("NQ.FUT", "NQ.OPT"), NOW_NS - DAY_NS, NOW_NS)

RESERVING = """
import sys
from pathlib import Path
from ifd_fast.errors import BudgetError
from ifd_fast.spending import Ledger
from tests.test_spending import CEILING, NOW_NS, REQUEST, usd
ledger = Ledger(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
while True:
    try:
        number = ledger.reserve(REQUEST, usd(float(sys.argv[2])), CEILING, NOW_NS).id
    except BudgetError:
        break
    print("reserved", number, flush=True)
    if number % 2:
        ledger.settle(number, NOW_NS)
        print("settled", number, flush=True)
"""


def usd(dollars: float) -> Price:
    """Return a price in dollars."""
    return Price(round(dollars * 1e9), 1_000)


def start_reserving(ledger: Path, dollars: float) -> subprocess.Popen[str]:
    """Start a process that reserves and settles until the budget is spent, once told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", RESERVING, str(ledger), str(dollars)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_request_is_reserved_then_settled_or_released(tmp_path: Path) -> None:
    """What is reserved or settled counts, what came to nothing doesn't, the real cost replaces."""
    ledger = Ledger(tmp_path / "new" / "ledger.sqlite")
    assert ledger.spent() == []
    assert ledger.total_1e9("2026-11") == 0
    held = [ledger.reserve(REQUEST, usd(10), CEILING, NOW_NS) for _ in range(4)]
    assert [one.after_1e9 for one in held] == [10**10, 2 * 10**10, 3 * 10**10, 4 * 10**10]
    ledger.settle(held[0].id, NOW_NS)
    ledger.settle(held[1].id, NOW_NS, usd_1e9=7)
    ledger.release(held[2].id, NOW_NS)
    assert ledger.total_1e9("2026-11") == 2 * 10**10 + 7
    found = ledger.spent("2026-11")
    assert [(one.id, one.is_open) for one in found] == [(1, False), (2, False), (4, True)]
    assert found[0].request == REQUEST
    assert ledger.spent("2026-10") == []
    for number in (held[0].id, held[2].id, 99):
        with pytest.raises(UsageError, match=f"no open reservation {number}"):
            ledger.settle(number, NOW_NS)


def test_the_limit_is_of_a_month(tmp_path: Path) -> None:
    """The last cent may be spent, one more not; a new month, UTC, starts at nothing."""
    ledger = Ledger(tmp_path / "ledger")
    ledger.reserve(REQUEST, usd(449.99), CEILING, NOW_NS)
    ledger.reserve(REQUEST, usd(0.01), CEILING, NOW_NS)
    with pytest.raises(BudgetError) as caught:
        ledger.reserve(REQUEST, usd(0.01), CEILING, NOW_NS)
    assert caught.value.exit_code == 5
    text = str(caught.value)
    for part in ("GLBX.MDP3 mbo of NQ.FUT and 1 more", "$0.01 for", "$0.00 is left", "limit_usd"):
        assert part in text
    ledger.reserve(REQUEST, usd(0), CEILING, NOW_NS)  # what is free is never refused
    first_of_december = int(dt.datetime(2026, 12, 1, tzinfo=dt.UTC).timestamp()) * 1_000_000_000
    assert month_of(first_of_december - 1) == "2026-11"
    assert ledger.reserve(REQUEST, usd(450), CEILING, first_of_december).before_1e9 == 0


STEP = st.tuples(st.integers(0, 200 * 10**9), st.sampled_from(["leave", "settle", "release"]))


@settings(max_examples=20)
@given(st.lists(STEP, max_size=8))
def test_the_sum_is_exact_and_never_past_the_limit(steps: list[tuple[int, str]]) -> None:
    """Whatever the order of prices and ends, the total is that of a list kept by hand."""
    with tempfile.TemporaryDirectory() as folder:
        ledger, expected = Ledger(Path(folder) / "ledger"), 0
        for usd_1e9, end in steps:
            price = Price(usd_1e9, 1)
            if usd_1e9 and expected + usd_1e9 > CEILING:
                with pytest.raises(BudgetError):
                    ledger.reserve(REQUEST, price, CEILING, NOW_NS)
                continue
            number = ledger.reserve(REQUEST, price, CEILING, NOW_NS).id
            expected += usd_1e9
            if end == "settle":
                ledger.settle(number, NOW_NS)
            elif end == "release":
                ledger.release(number, NOW_NS)
                expected -= usd_1e9
            assert ledger.total_1e9("2026-11") == expected <= CEILING


def test_two_processes_share_one_limit(tmp_path: Path) -> None:
    """Reserving at once, two processes spend the budget to the cent, and not a cent more."""
    path = tmp_path / "ledger"
    both = [start_reserving(path, 22.5) for _ in range(2)]
    for one in both:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    outputs = [one.communicate(timeout=30)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sum(text.count("reserved") for text in outputs) == 20
    assert Ledger(path).total_1e9("2026-11") == CEILING


@pytest.mark.parametrize("after_s", [0.0, 0.003, 0.011, 0.024, 0.05])
def test_a_kill_loses_nothing(tmp_path: Path, after_s: float) -> None:
    """What was reserved by a process that is killed counts; at most one was not yet told."""
    path = tmp_path / "ledger"
    process = start_reserving(path, 0.01)
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    told = process.communicate(timeout=30)[0].splitlines()
    reserved = [int(line.split()[1]) for line in told if line.startswith("reserved ")]
    settled = [int(line.split()[1]) for line in told if line.startswith("settled ")]
    found = Ledger(path).spent("2026-11") if path.exists() else []
    numbers = [one.id for one in found]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(reserved) <= len(numbers) <= len(reserved) + 1
    closed = [one.id for one in found if not one.is_open]
    assert set(settled) <= set(closed)
    assert len(closed) <= len(settled) + 1
    assert Ledger(path).total_1e9("2026-11") == len(numbers) * 10_000_000
    Ledger(path).reserve(REQUEST, usd(1), CEILING, NOW_NS)  # and the ledger goes on


def test_a_journal_left_behind_is_rolled_back(tmp_path: Path) -> None:
    """A process that dies inside a transaction leaves the ledger as it was before it."""
    path = tmp_path / "ledger"
    Ledger(path).reserve(REQUEST, usd(5), CEILING, NOW_NS)
    dying = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_spill = 1'); c.execute('PRAGMA cache_size = 1')\n"
        "c.execute('BEGIN IMMEDIATE')\n"
        "c.execute('UPDATE requests SET usd_1e9 = 1')\n"
        "c.executemany('INSERT INTO shares VALUES (1, ?, 1)', "
        "[(str(n) * 100,) for n in range(2000)])\n"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", dying, str(path)], check=False).returncode == 9
    assert Path(f"{path}-journal").stat().st_size > 0
    assert Ledger(path).total_1e9("2026-11") == 5 * 10**9
    assert Ledger(path).spent()[0].price.by_symbol_1e9 == ()


def test_a_ledger_that_cannot_be_trusted_stops_everything(tmp_path: Path) -> None:
    """Damaged, of another version, locked or out of reach: an error each, and nothing reserved."""
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"no database at all" * 100)
    with pytest.raises(DataError, match="no ledger, or a damaged one"):
        Ledger(damaged).reserve(REQUEST, usd(1), CEILING, NOW_NS)
    other = tmp_path / "other"
    with sqlite3.connect(other) as connection:
        connection.execute("PRAGMA user_version = 9")
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(DataError, match="version 9"):
        Ledger(other).spent()
    (tmp_path / "file").touch()
    with pytest.raises(IfdError, match="can't be used"):
        Ledger(tmp_path / "file" / "ledger").reserve(REQUEST, usd(1), CEILING, NOW_NS)
    ledger = Ledger(tmp_path / "held", wait_s=0.05)
    ledger.reserve(REQUEST, usd(1), CEILING, NOW_NS)
    holder = sqlite3.connect(ledger.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(AlreadyRunningError, match="held by another process"):
        ledger.reserve(REQUEST, usd(1), CEILING, NOW_NS)
    holder.close()
    assert ledger.total_1e9("2026-11") == 10**9


def test_a_ledger_held_after_a_purchase_keeps_it_and_claims_nothing(tmp_path: Path) -> None:
    """Settling comes after sending: its error must not say that nothing was sent."""
    ledger = Ledger(tmp_path / "held", wait_s=0.05)
    number = ledger.reserve(REQUEST, usd(3), CEILING, NOW_NS).id
    holder = sqlite3.connect(ledger.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(AlreadyRunningError, match="Nothing was written to it") as caught:
        ledger.settle(number, NOW_NS)
    holder.close()
    assert "sent" not in str(caught.value)
    assert [(one.id, one.is_open) for one in ledger.spent()] == [(number, True)]
    assert ledger.total_1e9("2026-11") == 3 * 10**9


def test_the_schemas_are_databentos() -> None:
    """Every schema that the official client knows can be priced, and no other."""
    assert {str(one) for one in Schema.variants()} == SCHEMAS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "glbx"}, "`dataset` must be"),
        ({"schema": "mbp"}, "`schema` is unknown.*mbp-"),
        ({"stype_in": "parents"}, "Did you mean parent"),
        ({"symbols": ()}, "were 0"),
        ({"symbols": tuple(map(str, range(2001)))}, "were 2001"),
        ({"symbols": ("NQ.OPT,ES.OPT",)}, "a symbol must be"),
        ({"symbols": ("NQ.OPT", "NQ.OPT")}, "must differ"),
        ({"end_ns": NOW_NS - DAY_NS}, "must come before"),
    ],
)
def test_a_request_that_cannot_be_sent_is_refused(changes: dict[str, object], message: str) -> None:
    """A wrong request is refused here, with its way out, before a question is spent on it."""
    fields = {name: getattr(REQUEST, name) for name in REQUEST.__dataclass_fields__}
    with pytest.raises(UsageError, match=message):
        DataRequest(**(fields | changes))
