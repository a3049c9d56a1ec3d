"""`ifd repair` against a local server: priced, bought once, checked; else nothing is kept."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zstandard

from ifd_fast import repairing
from ifd_fast.baseline_store import open_store
from ifd_fast.baselines import add_folders
from ifd_fast.config import load_settings
from ifd_fast.pricing import Price
from ifd_fast.record_reader import RecordReader
from ifd_fast.record_replay import replay_record
from ifd_fast.repair_files import SCHEMAS, RepairFiles
from ifd_fast.repairing import find_needs
from ifd_fast.spending import Ledger
from tests.historical_server import KEY, Fault, HistoricalServer, refusal
from tests.strategies_interface import SECOND
from tests.strategies_repair import Begin, Session, history, session_events, small_profile
from tests.strategies_runs import Done, invoke

pytestmark = pytest.mark.jit

EVENTS = 600
GET = "timeseries.get_range"


class Place(NamedTuple):
    """A record with two gaps, and the server that has what it lacks."""

    record: Path
    server: HistoricalServer
    ledger: Ledger
    folder: Path

    def repair(self, *arguments: str) -> Done:
        """Run `ifd repair`; fail if the key is in sight."""
        done = invoke("repair", self.record, *arguments)
        texts = [done.output.encode()]
        texts += [one.read_bytes() for one in self.folder.rglob("*") if one.is_file()]
        assert not any(KEY.encode() in text for text in texts)
        return done

    def report(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the gaps that `ifd repair --json` reports."""
        done = self.repair("--json", *arguments)
        assert done.code == 0, done.output
        gaps: list[dict[str, Any]] = json.loads(done.output[done.output.index("{\n") :])["gaps"]
        return gaps

    @property
    def files(self) -> set[str]:
        """Names of what lies in the folder of repairs."""
        folder = self.record / "repair"
        return {one.name for one in folder.iterdir()} if folder.is_dir() else set()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the record that each test copies."""
    events = session_events(EVENTS, 2)
    connections = [Begin(0, 150), Begin(200, 350), Begin(420, EVENTS)]
    return Session(events, connections).write(tmp_path_factory.mktemp("recorded"))


def answer(form: dict[str, str]) -> bytes:
    """Return history as the server has it."""
    start_ns, end_ns = int(form["start"]), int(form["end"])
    return zstandard.compress(history(session_events(EVENTS, 2), start_ns, end_ns, form["schema"]))


@pytest.fixture
def place(
    recorded: Path,
    historical: HistoricalServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logging_put_back: None,
) -> Place:
    """Return a copy of the record; settings point to the server, and the key is set."""
    shutil.copytree(recorded, tmp_path / "record")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IFD_PROFILE", str(small_profile(tmp_path)))
    monkeypatch.setenv("IFD_DATABENTO_GATEWAY", historical.url)
    monkeypatch.setenv("IFD_DATABENTO_TIMEOUT_S", "2")
    monkeypatch.setenv("IFD_BUDGET_LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setenv("DATABENTO_API_KEY", KEY)
    monkeypatch.setattr("ifd_fast.historical.time.sleep", lambda _: None)
    historical.answer = answer
    return Place(tmp_path / "record", historical, Ledger(tmp_path / "ledger"), tmp_path)


def test_gaps_are_priced_bought_once_and_gone(place: Place) -> None:
    """--dry-run buys nothing; then each gap is bought, once; then there is nothing to do."""
    gaps = place.report("--dry-run")
    assert [(gap["connection"], gap["state"]) for gap in gaps] == [(2, "open"), (3, "open")]
    assert all(gap["usd"] > 0 for gap in gaps)
    assert place.server.count(GET) == 0
    assert place.files == set()
    form = next(form for name, form in place.server.asked if name == "metadata.get_cost")
    assert (form["symbols"], form["stype_in"]) == ("NQ.FUT,NQ.OPT", "parent")
    asked_ns = int(form["start"]), int(form["end"])
    assert asked_ns[0] < gaps[0]["start_ns"] < gaps[0]["end_ns"] < asked_ns[1]
    assert asked_ns[1] - asked_ns[0] < gaps[0]["end_ns"] - gaps[0]["start_ns"] + 10 * SECOND

    done = place.repair("--yes")
    assert done.code == 0, done.output
    assert "gap 2" in done.output
    assert "70 records" in done.output
    assert place.server.count(GET) == 6
    assert place.files == {
        "checks.jsonl", "lock", *(f"000{n}.{schema}.dbn" for n in (2, 3) for schema in SCHEMAS)
    }  # fmt: skip
    spent = place.ledger.spent()
    assert len(spent) == 6
    assert not any(one.is_open for one in spent)

    assert [gap["state"] for gap in place.report("--yes")] == ["repaired"] * 2
    assert place.server.count(GET) == 6
    result = replay_record(place.record)
    assert "F" not in set(result.windows["quality"][:-20])
    assert result.document["observed_gaps_ns"] == []


def test_without_a_gap_there_is_nothing_to_do(place: Place, tmp_path: Path) -> None:
    """A record whose tape is whole costs nothing and needs no key."""
    events = session_events(100, 2)
    whole = Session(events, [Begin(0, 100)]).write(tmp_path / "whole")
    done = invoke("repair", whole)
    assert done.code == 0
    assert "nothing to repair" in done.output
    assert place.server.asked == []


def test_nothing_is_bought_without_a_yes(place: Place) -> None:
    """Asked and not confirmed, above --max-usd, past the budget, or without a key: nothing."""
    assert place.repair().code == 1
    done = place.repair("--yes", "--max-usd", "0.0001")
    assert (done.code, "more than --max-usd" in done.output) == (5, True)
    needs = find_needs(
        RecordReader(place.record), RepairFiles(place.record), load_settings().profile
    )
    request = needs[0].requests[0][1]
    place.ledger.reserve(request, Price(450 * 10**9, 1), 10**12, time.time_ns())
    done = place.repair("--yes")
    assert (done.code, "is left: nothing was sent" in done.output) == (5, True)
    assert place.repair("--json").code == 2
    assert place.server.count(GET) == 0
    assert place.files == set()


def test_without_a_key_it_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are gaps, but nobody to ask."""
    monkeypatch.delenv("DATABENTO_API_KEY")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place.folder))
    done = place.repair("--yes")
    assert (done.code, "no API key" in done.output) == (5, True)


def test_history_that_is_not_available_is_not_bought(place: Place) -> None:
    """A day that is pending, degraded or missing is named; nothing is spent."""
    need = find_needs(
        RecordReader(place.record), RepairFiles(place.record), load_settings().profile
    )[0]
    day = dt.datetime.fromtimestamp(need.gap.start_ns // SECOND, dt.UTC).date().isoformat()
    for condition in ("pending", "degraded", "missing"):
        place.server.conditions[day] = condition
        done = place.repair("--yes")
        assert done.code == 1
        assert f"{day} is {condition}" in done.output
    assert place.server.count(GET) == 0


@pytest.mark.parametrize(
    ("method", "fault", "code"),
    [
        ("metadata.get_cost", refusal(401, "auth_authentication_failed", "No."), 5),
        (GET, refusal(403, "license_not_found_unauthorized", "No licence."), 5),
        (GET, refusal(422, "data_end_after_available_end", "Too early."), 1),
    ],
)
def test_a_refusal_keeps_and_costs_nothing(
    place: Place, method: str, fault: Fault, code: int
) -> None:
    """The key, the licence, the range: an error, its exit code, and the record as it was."""
    place.server.faults[method] = fault
    assert place.repair("--yes").code == code
    assert place.files <= {"lock"}
    assert place.ledger.spent() == []
    place.server.faults.clear()
    assert place.repair("--yes").code == 0


def test_what_broke_off_is_not_bought_again_unasked(place: Place) -> None:
    """Cut on the way, the reservation stays; the next try names it; settled, all goes on."""
    place.server.faults[GET] = Fault(200, answer_of(place, 0), breaks_off=True, times=1)
    assert place.repair("--yes").code == 1
    assert place.files <= {"lock"}
    (left,) = place.ledger.spent()
    assert left.is_open
    done = place.repair("--yes")
    assert done.code == 5
    assert f"ifd cost --settle {left.id}=USD" in done.output
    assert invoke("cost", "--settle", f"{left.id}=0").code == 0
    assert place.repair("--yes").code == 0
    assert replay_record(place.record).document["observed_gaps_ns"] == []


@pytest.mark.parametrize(
    "step", ["write_safely", "check_stream", "check_history", "find_undefined", "Repair"]
)
def test_what_was_paid_for_before_a_crash_is_used(
    place: Place, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Killed between paying and keeping: the next run takes what lies there, and buys the rest."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(repairing, step, die)
        assert place.repair("--yes").code == 1
    assert place.server.count(GET) == 3
    assert "checks.jsonl" not in place.files
    assert replay_record(place.record).document["repaired_gaps"] == []
    assert place.repair("--yes").code == 0
    assert place.server.count(GET) == 6
    assert not any(name.endswith((".zst", ".part")) for name in place.files)


def answer_of(place: Place, which: int, later_ns: int = 0) -> bytes:
    """Return what the server sends for the first gap's request of a schema."""
    needs = find_needs(
        RecordReader(place.record), RepairFiles(place.record), load_settings().profile
    )
    schema, request = needs[0].requests[which]
    form = {"start": str(request.start_ns + later_ns), "end": str(request.end_ns)}
    return answer({**form, "schema": schema})


def cut(place: Place) -> bytes:
    """Return an answer of two frames, the second of which is not whole."""
    plain = zstandard.decompress(answer_of(place, 0), max_output_size=1 << 24)
    middle = len(plain) // 2
    return zstandard.compress(plain[:middle]) + zstandard.compress(plain[middle:])[:-9]


def other_day(place: Place) -> bytes:
    """Return records of another market under the right header."""
    request = find_needs(
        RecordReader(place.record), RepairFiles(place.record), load_settings().profile
    )[0].requests[0][1]
    whole = history(session_events(EVENTS, 9), request.start_ns, request.end_ns)
    return zstandard.compress(whole)


def outside(place: Place) -> bytes:
    """Return records from before the range, under a header that says it is the range."""
    plain = zstandard.decompress(answer_of(place, 0), max_output_size=1 << 24)
    early = session_events(EVENTS, 2)[:1].tobytes()
    return zstandard.compress(plain + early)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (cut, "ends"),
        (lambda place: answer_of(place, 0, 30 * SECOND), "was asked for"),
        (lambda place: answer_of(place, 1), "holds GLBX.MDP3 definition"),
        (outside, "were received outside"),
        (other_day, "of other symbols or another day"),
        (
            lambda place: zstandard.compress(
                zstandard.decompress(answer_of(place, 0), max_output_size=1 << 24)[:-9]
            ),
            "ends inside a record",
        ),
    ],
    ids=["cut", "wrong interval", "wrong schema", "outside", "another day", "cut record"],
)
def test_what_is_not_what_was_asked_for_is_refused(
    place: Place, body: Callable[[Place], bytes], said: str
) -> None:
    """Named, set aside since it was paid for, and nothing of it counts; another try repairs."""
    place.server.faults[GET] = Fault(200, body(place), times=1)
    done = place.repair("--yes")
    assert done.code == 3, done.output
    assert said in done.output
    assert "checks.jsonl" not in place.files
    assert "0002.mbo.dbn.zst.refused" in place.files
    assert "0002.mbo.dbn" not in place.files
    assert replay_record(place.record).document["repaired_gaps"] == []
    place.server.faults.clear()
    assert place.repair("--yes").code == 0


def test_a_repair_that_was_changed_is_not_played(place: Place) -> None:
    """A flipped byte, a lost file, a changed line: named, exit code 3, nothing is replayed."""
    assert place.repair("--yes").code == 0
    path = place.record / "repair" / "0003.mbo.dbn"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert invoke("replay", place.record).code == 3
    path.unlink()
    assert place.repair("--yes").code == 3
    path.write_bytes(whole)
    assert invoke("replay", place.record).code == 0
    checks = place.record / "repair" / "checks.jsonl"
    checks.write_bytes(checks.read_bytes().replace(b'"gap":2', b'"gap":1'))
    done = invoke("replay", place.record)
    assert (done.code, "line 1" in done.output) == (3, True)


def test_a_terminal_is_shown_how_much_has_come(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it waits for the server, it says how many bytes there are; and what it fetches."""
    monkeypatch.setattr("ifd_fast.commands.repair.LOOK_S", 0.01)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes that for a terminal
    place.server.faults[GET] = Fault(200, answer_of(place, 0), delay_s=0.3, times=1)
    done = place.repair("--yes")
    assert done.code == 0
    assert "0.0 MB" in done.output
    assert "fetching GLBX.MDP3 mbo" in done.output


def test_two_repairs_at_once(place: Place) -> None:
    """The second is told that there is one, exit code 4, and buys nothing."""
    with RepairFiles(place.record).held():
        done = place.repair("--yes")
    assert (done.code, "held by another" in done.output) == (4, True)
    assert place.server.count(GET) == 0


def test_history_gets_the_session_in_place_of_the_torn_one(place: Place) -> None:
    """A store that took the session with its gaps takes it again: its windows are observed now."""
    store = place.folder / "store.duckdb"

    def observed(out: str) -> tuple[int, int]:
        assert invoke("replay", place.record, "--out", place.folder / out).code == 0
        (one,) = add_folders(store, [place.folder / out])
        assert not one.unchanged
        with open_store(store) as connection:
            rows = connection.execute(
                "SELECT count(*) FILTER (quality <> 'F'), count(*) FROM facts"
            ).fetchall()
            days = connection.execute("SELECT count(*) FROM windows WHERE observed").fetchall()
        assert len(days) == 1
        sound, whole = rows[0]
        assert whole == one.fact_rows
        return int(sound), int(days[0][0])

    torn = observed("torn")
    assert place.repair("--yes").code == 0
    repaired = observed("repaired")
    assert repaired[0] > torn[0]
    assert repaired[1] > torn[1]
