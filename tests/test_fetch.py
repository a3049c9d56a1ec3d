"""`ifd fetch` against a local server: priced, shown, refused past a limit, paid once."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import pytest

from ifd_fast.batch_folders import parse_listing
from ifd_fast.pricing import DataRequest, Price
from tests.historical_server import KEY, HistoricalServer, refusal
from tests.strategies_batch import DAY_NS
from tests.strategies_fetch import DAYS, PARENTS, SCHEMAS, Place, make_place

pytestmark = [pytest.mark.border, pytest.mark.usefixtures("logging_put_back")]


@pytest.fixture
def place(historical: HistoricalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return a place to fetch into."""
    return make_place(historical, tmp_path, monkeypatch)


def test_days_come_as_batch_folders(place: Place) -> None:
    """Priced, shown, submitted by day and schema, paid once; the folders fit their manifests."""
    done = place.whole()
    assert done.code == 0, done.output
    place.check_whole(*SCHEMAS)
    assert "mbo: $2.00 for 0.004 GB" in done.output
    assert "together $2.12" in done.output
    form = next(form for name, form in place.server.asked if name == "batch.submit_job")
    asked = {"dataset": "GLBX.MDP3", "symbols": "NQ.FUT,NQ.OPT", "stype_in": "parent"}
    shaped = {"encoding": "dbn", "compression": "zstd", "split_duration": "day"}
    assert form.items() >= (asked | shaped).items()
    assert int(form["end"]) - int(form["start"]) == 2 * DAY_NS
    again = place.whole()
    assert (again.code, "--resume" in again.output) == (2, True)
    once_more = place.fetch("--resume", "--yes")
    assert once_more.code == 0
    assert "nothing is left to be paid" in once_more.output
    place.check_whole(*SCHEMAS)


def test_a_dry_run_buys_and_makes_nothing(place: Place) -> None:
    """--dry-run shows prices; there is no job, no reservation and no folder."""
    done = place.whole("--dry-run")
    assert (done.code, "together $2.12" in done.output) == (0, True)
    assert not place.server.batch.jobs
    assert not place.out.exists()
    assert place.usd == 0


def test_the_universe_and_yesterday_are_the_default(place: Place) -> None:
    """Without options all parents of the profile's universe are asked for, of yesterday."""
    done = place.fetch("--dry-run")
    assert done.code == 0, done.output
    form = next(form for name, form in place.server.asked if name == "metadata.get_cost")
    assert len(form["symbols"].split(",")) > 20
    midnight = time.time_ns() // DAY_NS * DAY_NS
    assert (int(form["start"]), int(form["end"])) == (midnight - DAY_NS, midnight)


WRONG = [
    (["--from", "2025-06-10", "--to", "2025-06-09"], "must not come after"),
    (["--to", "2999-01-01"], "nor that after yesterday"),
    (["--from", "June"], "must be a date"),
    ([*DAYS, "--parents", "NQ.FUT,NQ.FUT"], "different names"),
    ([*DAYS, "--schemas", "mbo,mboo"], "unknown"),
    (["--resume"], "no fetch to go on with"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_options_are_refused_at_once(
    place: Place, arguments: list[str], message: str
) -> None:
    """What can't be asked for is wrong usage, before a question is spent on it."""
    done = place.fetch(*arguments, "--yes")
    assert (done.code, message in done.output) == (2, True), done.output
    assert not place.server.asked


def test_another_plan_doesnt_resume(place: Place) -> None:
    """--resume with other days than the folder has is refused; with the same it goes on."""
    assert place.first().code == 0
    other = place.fetch("--resume", "--yes", "--from", "2025-06-08", "--to", "2025-06-10")
    assert (other.code, "is asked for" in other.output) == (2, True)
    assert place.first("--resume").code == 0


@pytest.mark.parametrize("arguments", [("--max-usd", "1.9"), ()])
def test_past_a_limit_nothing_is_sent(place: Place, arguments: tuple[str, ...]) -> None:
    """More than --max-usd, or than the month has left, is exit code 5; there is no job."""
    spent = 0
    if not arguments:
        request = DataRequest("GLBX.MDP3", "mbo", ("ES.FUT",), 0, DAY_NS)
        spent = 449 * 10**9
        held = place.ledger.reserve(request, Price(spent, 1), 10**12, time.time_ns())
        place.ledger.settle(held.id, time.time_ns())
    done = place.first(*arguments)
    assert (done.code, "nothing was sent" in done.output) == (5, True), done.output
    assert not place.server.batch.jobs
    assert place.usd == spent / 1e9


def test_unasked_it_buys_nothing(place: Place) -> None:
    """Without --yes and without an answer nothing is bought."""
    done = place.fetch(*DAYS, "--parents", "NQ.FUT")
    assert done.code == 1
    assert not place.server.batch.jobs
    assert place.usd == 0


REFUSALS = [
    (401, "auth_authentication_failed", 5),
    (402, "account_payment_required", 5),
    (403, "license_not_found_unauthorized", 5),
    (422, "data_end_after_available_end", 1),
    (429, "rate_limit_exceeded", 1),
]


@pytest.mark.parametrize(("status", "case", "code"), REFUSALS)
def test_a_refused_job_costs_nothing(place: Place, status: int, case: str, code: int) -> None:
    """What Databento refuses to begin is released; once it is mended --resume buys all of it."""
    place.server.faults["batch.submit_job"] = refusal(status, case, f"No, {KEY}.")
    done = place.first()
    assert (done.code, f"{status}" in done.output) == (code, True), done.output
    assert place.usd == 0
    place.server.faults.clear()
    assert place.fetch("--resume", "--yes").code == 0
    place.check_whole()


def test_without_a_key_it_says_how(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key is exit code 5 with the way out."""
    monkeypatch.delenv("DATABENTO_API_KEY")
    monkeypatch.setenv("HOME", str(place.out.parent))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place.out.parent))
    done = place.first()
    assert (done.code, "DATABENTO_API_KEY" in done.output) == (5, True)


DAYS_OFF = [
    ("pending", False, "a part of the day"),
    ("pending", True, "a part of the day"),
    ("degraded", False, "--partial"),
    ("missing", False, "--partial"),
]


@pytest.mark.parametrize(("condition", "partial", "message"), DAYS_OFF)
def test_partial_days_are_refused_unpaid(
    place: Place, condition: str, message: str, *, partial: bool
) -> None:
    """A day that isn't over is never bought, one that is degraded or missing only if allowed."""
    place.server.conditions["2025-06-10"] = condition
    done = place.first(*(["--partial"] if partial else []))
    assert (done.code, message in done.output) == (1, True), done.output
    assert "2025-06-10" in done.output
    assert not place.server.batch.jobs


def test_degraded_days_come_if_they_are_allowed(place: Place) -> None:
    """--partial names the day and goes on; Saturdays and days nothing is said of are no fault."""
    place.server.conditions |= {
        "2025-06-10": "degraded",
        "2025-06-07": "missing",  # a Saturday
        "2025-06-08": "",  # nothing is said of it
    }
    done = place.fetch("--from", "2025-06-06", "--to", "2025-06-10", "--yes", "--partial")
    assert (done.code, "2025-06-10 is degraded" in done.output) == (0, True), done.output
    assert "2025-06-07" not in done.output


LISTINGS = [
    [{"filename": "../../etc", "size": 1, "hash": "sha256:" + "0" * 64}],
    [{"filename": "a.dbn", "size": 1}],
    {"message": "soon"},
    [],
]


@pytest.mark.parametrize("listing", LISTINGS)
def test_a_list_that_is_none_is_refused(place: Place, listing: object) -> None:
    """Files outside the folder, without a checksum, or none: exit code 1, nothing is written."""
    place.server.batch.listing = lambda _: listing
    done = place.first()
    assert done.code == 1, done.output
    assert "job GLBX" in done.output or "Job GLBX" in done.output
    assert sorted(one.name for one in place.out.iterdir()) == [".lock", "fetch.json"]


def test_a_manifest_names_plain_files_only() -> None:
    """What the API lists and what a folder's manifest says is read alike."""
    entry = {"filename": "a.dbn.zst", "size": 3, "hash": "sha256:" + "a" * 64}
    (one,) = parse_listing([entry])
    assert parse_listing({"job_id": "x", "files": [entry]}) == [one]
    assert (one.name, one.size_bytes, one.sha256, one.url) == ("a.dbn.zst", 3, "a" * 64, "")


def test_days_leave_out_saturdays() -> None:
    """The exchange is closed on a UTC Saturday; a Sunday has an evening session."""
    from ifd_fast.fetch_files import FetchPlan

    plan = FetchPlan("GLBX.MDP3", PARENTS, ("mbo",), dt.date(2025, 6, 6), dt.date(2025, 6, 9))
    assert [day.day for day in plan.days] == [6, 8, 9]
