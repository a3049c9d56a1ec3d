"""`ifd cost`: sums, forecast and savings against hand-made ledgers; what people and scripts see."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ifd_fast.calendar import load_sessions
from ifd_fast.pricing import DataRequest, Price
from ifd_fast.profiles import Profile
from ifd_fast.savings import find_savings, symbol_prices_1e9
from ifd_fast.spending import Ledger, Spent
from ifd_fast.spending_report import describe_spending, forecast_1e9
from ifd_fast.universe import load_universe
from tests.conftest import ROOT
from tests.strategies_runs import invoke

pytestmark = pytest.mark.border

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
USD = 10**9


def utc(text: str) -> int:
    """Return a time in ns UTC."""
    return int(dt.datetime.fromisoformat(f"{text}+00:00").timestamp()) * 1_000_000_000


NOW_NS = utc("2026-11-23T15:00:00")


def ask(
    schema: str = "mbo",
    symbols: tuple[str, ...] = ("NQ.OPT",),
    start: str = "2026-11-17",
    hours: int = 24,
    stype_in: str = "parent",
) -> DataRequest:
    """Return a request, by default for a day of one parent."""
    first = utc(f"{start}T00:00:00")
    return DataRequest("GLBX.MDP3", schema, symbols, first, first + hours * HOUR_NS, stype_in)


def bought(*rows: tuple[DataRequest, float]) -> list[Spent]:
    """Return settled requests and their prices in dollars."""
    return [
        Spent(number, NOW_NS, False, request, Price(round(usd * USD), 1))
        for number, (request, usd) in enumerate(rows, 1)
    ]


def profile_in(folder: Path, **changes: Any) -> Profile:
    """Return a profile whose files lie in `folder`."""
    return Profile(
        budget_ledger=str(folder / "ledger"), baselines_path=str(folder / "none"), **changes
    )


def savings_of(spent: list[Spent], stored: set[dt.date] | None = None) -> list[tuple[str, Any]]:
    """Return what could be saved and its amount in dollars."""
    dates = None if stored is None else frozenset(stored)
    found = find_savings(spent, load_universe("nq"), load_sessions(), dates)
    return [(one.what, None if one.usd_1e9 is None else one.usd_1e9 / USD) for one in found]


def test_day_month_and_groups(tmp_path: Path) -> None:
    """The day is the UTC day of reservation, groups add up to the month, left is what it says."""
    profile = profile_in(tmp_path)
    ledger = Ledger(tmp_path / "ledger")
    both = ask(symbols=("NQ.OPT", "NQ.FUT"), start="2026-11-10")
    shares = (("NQ.OPT", 30 * USD), ("NQ.FUT", 10 * USD))
    ledger.reserve(both, Price(20 * USD, 9, shares), 10**12, NOW_NS - 3 * DAY_NS)
    ledger.settle(ledger.reserve(ask(), Price(5 * USD, 9), 10**12, NOW_NS).id, NOW_NS)
    together = ask("definition", ("NQ.OPT", "QNE.OPT", "QN1.OPT"))
    ledger.reserve(together, Price(USD // 2, 9), 10**12, NOW_NS - 15 * HOUR_NS)
    actual = describe_spending(profile, "2026-11", NOW_NS)
    assert (actual["day"], actual["day_usd"], actual["month_usd"]) == ("2026-11-23", 5.5, 25.5)
    assert (actual["limit_usd"], actual["left_usd"]) == (600.0, 424.5)
    assert actual["by_schema"] == [
        {"name": "mbo", "requests": 2, "usd": 25.0},
        {"name": "definition", "requests": 1, "usd": 0.5},
    ]
    assert actual["by_parent"] == [
        {"name": "NQ.OPT", "requests": 2, "usd": 20.0},
        {"name": "NQ.FUT", "requests": 1, "usd": 5.0},
        {"name": "NQ.OPT and 2 more, priced together", "requests": 1, "usd": 0.5},
    ]
    assert [row["id"] for row in actual["open"]] == [1, 3]
    october = describe_spending(profile, "2026-10", NOW_NS)
    assert (october["day"], october["month_usd"], october["forecast_usd"]) == (None, 0.0, 0.0)


def test_the_forecast_counts_sessions() -> None:
    """The month comes to its total over the sessions begun, times the sessions it has."""
    sessions = load_sessions()
    dates = [day for day in sessions.trade_date.astype(str) if day.startswith("2026-11")]
    begun = [day for day in dates if day <= "2026-11-23"]
    expected = 100 * USD * len(dates) // len(begun)
    assert expected > 100 * USD
    assert forecast_1e9(100 * USD, "2026-11", NOW_NS, sessions) == expected
    assert forecast_1e9(100 * USD, "2026-10", NOW_NS, sessions) == 100 * USD
    assert forecast_1e9(100 * USD, "2026-11", utc("2026-11-30T23:59:00"), sessions) == 100 * USD
    assert forecast_1e9(7, "1990-01", utc("1990-01-05T00:00:00"), sessions) == 7


@pytest.mark.parametrize(
    ("spent_usd", "expected"),
    [
        (0.0, []),
        (300.0, ["more than expected"]),
        (345.0, ["before the month does"]),
        (360.0, ["80% of the budget is spent", "before the month does"]),
        (450.0, ["100% of the budget is spent", "before the month does"]),
        (450.01, ["budget is passed"]),
    ],
)
def test_warnings(tmp_path: Path, spent_usd: float, expected: list[str]) -> None:
    """Each figure that is out of bounds is said, from the cent on where it is."""
    profile = profile_in(tmp_path, budget_expected_usd=350.0)
    if spent_usd:
        price = Price(round(spent_usd * USD), 1)
        Ledger(tmp_path / "ledger").reserve(ask(), price, 10**15, NOW_NS)
    actual = describe_spending(profile, "2026-11", NOW_NS)["warnings"]
    assert len(actual) == len(expected), actual
    for text, part in zip(actual, expected, strict=True):
        assert part in text


def test_savings_schemas_and_parents() -> None:
    """Schemas that nothing reads and parents of no universe are named, with what they cost."""
    mixed = ask(symbols=("NQ.OPT", "ES.OPT"), start="2026-11-18")
    spent = bought((ask("mbp-10"), 3.0), (ask("trades"), 1.0), (ask(), 9.0))
    spent += bought((ask(symbols=("CL.OPT",)), 2.0), (mixed, 8.0))
    spent += bought((ask(symbols=("ESZ6",), stype_in="raw_symbol"), 4.0))
    assert savings_of(spent) == [
        ("schema mbp-10", 3.0),
        ("parent CL.OPT", 2.0),
        ("schema trades", 1.0),
        ("parent ES.OPT", None),
    ]


def test_savings_hours_bought_twice() -> None:
    """What a later request has in common with earlier ones counts once, by its share of time."""
    first, half = ask(hours=24), ask(start="2026-11-17", hours=48)
    assert savings_of(bought((first, 2.0), (half, 8.0))) == [("hours of mbo bought twice", 4.0)]
    thrice = bought((first, 2.0), (first, 2.0), (first, 2.0))
    assert savings_of(thrice) == [("hours of mbo bought twice", 4.0)]
    pair = ask(symbols=("NQ.OPT", "NQ.FUT"))
    assert savings_of(bought((first, 2.0), (pair, 6.0))) == [("hours of mbo bought twice", 3.0)]
    apart = bought((first, 2.0), (ask(start="2026-11-18"), 2.0), (ask("status"), 2.0))
    assert savings_of(apart) == []


def test_savings_sessions_in_no_history() -> None:
    """Whole sessions of MBO that the store doesn't hold are named, by their share of the time."""
    week = ask(start="2026-11-16", hours=5 * 24)  # Tuesday to Friday are whole
    dates = {dt.date(2026, 11, day) for day in (17, 18, 19, 20)}
    assert savings_of(bought((week, 40.0)), dates) == []
    actual = savings_of(bought((week, 40.0)), dates - {dt.date(2026, 11, 18)})
    assert actual == [("1 session of mbo that no baseline holds, 2026-11-18 to 2026-11-18", 10.0)]
    assert savings_of(bought((ask("definition"), 1.0)), set()) == []
    assert savings_of(bought((week, 40.0)), None) == []


def test_symbols_share_the_price_that_was_billed() -> None:
    """Prices of symbols alone are scaled to the whole; without them nothing is guessed."""
    request = ask(symbols=("A.OPT", "B.OPT"))
    whole = Price(10, 1, (("A.OPT", 15), ("B.OPT", 5)))
    assert symbol_prices_1e9(Spent(1, 0, False, request, whole)) == {"A.OPT": 7, "B.OPT": 2}
    for shares in ((), (("A.OPT", 3),), (("A.OPT", 0), ("B.OPT", 0))):
        assert symbol_prices_1e9(Spent(1, 0, False, request, Price(10, 1, shares))) is None


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables for people, JSON for scripts, a crash's reservation settled; errors by their code."""
    monkeypatch.chdir(tmp_path)
    assert invoke("cost").code == 0
    assert not list(tmp_path.iterdir())  # looking makes no ledger
    ledger = Ledger(Path("outputs/ifd_spending.sqlite"))
    ledger.reserve(ask(), Price(40 * USD, 1), 10**12, time.time_ns())
    ledger.reserve(ask("mbp-1", ("[red]",)), Price(2 * USD, 1), 10**12, time.time_ns())
    text = invoke("cost").output
    for part in ("spent this month", "42.00", "mbo", "Open", "schema mbp-1", "[red]", "408.00"):
        assert part in text, part
    document = json.loads(invoke("cost", "--json").output)
    assert document["month_usd"] == 42.0
    settled = json.loads(invoke("cost", "--settle", "1=12.5", "--json").output)
    assert (settled["month_usd"], [row["id"] for row in settled["open"]]) == (14.5, [2])
    assert invoke("cost", "--settle", "1=0").code == 2
    for wrong in ("1", "x=1", "1=x", "1=-1", "1=nan", "1=inf", "=1"):
        assert invoke("cost", "--settle", wrong).code == 2, wrong
    for wrong in ("2026-13", "2026", "26-01", "2026-1"):
        assert invoke("cost", "--month", wrong).code == 2, wrong
    assert json.loads(invoke("cost", "--month", "2020-02", "--json").output)["month_usd"] == 0
    ledger.path.write_bytes(b"damaged" * 1000)
    assert invoke("cost").code == 3


def test_the_page_lists_every_field(tmp_path: Path) -> None:
    """The table of docs/cost.md has the names of the JSON document, but for ledger and month."""
    lines = (ROOT / "docs" / "cost.md").read_text("utf-8").splitlines()
    cells = [line.split("|")[1] for line in lines if line.startswith("| `")]
    names = [name.strip(" `") for cell in cells for name in cell.split(",")]
    assert names == list(describe_spending(profile_in(tmp_path), "2026-11", NOW_NS))[2:]


def test_a_crash_keeps_its_spending(tmp_path: Path) -> None:
    """A process killed between reserving and settling leaves its price in `ifd cost`."""
    script = (
        "import os, signal, time\n"
        "from pathlib import Path\n"
        "from ifd_fast.pricing import Price\n"
        "from ifd_fast.spending import Ledger\n"
        "from tests.test_cost_command import USD, ask\n"
        "Ledger(Path('outputs/ifd_spending.sqlite')).reserve(\n"
        "    ask(), Price(7 * USD, 1), 10**12, time.time_ns())\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, check=False
    )
    assert done.returncode == -9
    found = Ledger(tmp_path / "outputs" / "ifd_spending.sqlite").spent()
    assert [(one.is_open, one.price.usd_1e9) for one in found] == [(True, 7 * USD)]
