"""`ifd fetch` where servers, lines, disks and processes fail: nothing is paid twice."""

from __future__ import annotations

import os
import resource
import signal
import threading
from pathlib import Path

import pytest

from ifd_fast.finding import find_sources
from tests.historical_server import KEY, Fault, HistoricalServer, refusal
from tests.strategies_fetch import DAYS, MBO, PARENTS, SCHEMAS, Place, make_place

pytestmark = [pytest.mark.border, pytest.mark.usefixtures("logging_put_back")]

KILLS = int(os.environ.get("FETCH_KILLS", "0"))


@pytest.fixture
def place(historical: HistoricalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return a place to fetch into."""
    return make_place(historical, tmp_path, monkeypatch)


BROKEN = [
    ("batch.get_job_details", Fault(500, b"{}", times=2)),
    ("batch.list_files", Fault(429, b"{}", {"Retry-After": "1"}, times=2)),
    (MBO, Fault(500, b"{}", times=4)),
    (MBO, Fault(429, b"{}", {"Retry-After": "1"}, times=2)),
    ("metadata.json", Fault(200, b"short", breaks_off=True, times=1)),
]


@pytest.mark.parametrize(("method", "fault"), BROKEN)
def test_what_heals_is_waited_for(place: Place, method: str, fault: Fault) -> None:
    """A server that is at fault for a while, or too busy, is asked again."""
    place.server.faults[method] = Fault(**vars(fault))
    done = place.first()
    assert done.code == 0, done.output
    place.check_whole()


@pytest.mark.parametrize("method", ["batch.get_job_details", "batch.list_files", MBO])
def test_what_doesnt_heal_is_gone_on_with(place: Place, method: str) -> None:
    """A server that stays at fault is exit code 1; --resume later pays nothing again."""
    place.server.faults[method] = Fault(503, b"{}")
    done = place.first()
    assert (done.code, "503" in done.output) == (1, True), done.output
    if method == MBO:
        assert any(one.name.endswith(MBO) for one in find_sources([place.out]).faults)
    place.server.faults.clear()
    assert place.fetch("--resume", "--yes").code == 0
    place.check_whole()


def test_a_key_that_is_refused_later_is_told(place: Place) -> None:
    """A key that is taken back once the job is paid is exit code 5; another one goes on."""
    place.server.faults[MBO] = refusal(401, "auth_authentication_failed", f"No {KEY}.")
    done = place.first()
    assert (done.code, "not accepted" in done.output) == (5, True), done.output
    (unfinished, *_) = find_sources([place.out]).faults
    assert unfinished.name == str(place.out / "fetch.json")
    assert "mbo did not come whole" in unfinished.reason
    place.server.faults.clear()
    assert place.fetch("--resume").code == 0
    place.check_whole()


def test_an_answer_to_a_submission_that_is_lost_is_found(place: Place) -> None:
    """The job was begun, its answer never came: --resume finds it and doesn't pay again."""
    times = iter([True])

    def lose(moment: str) -> None:
        if moment == "before the answer to submit_job" and next(times, False):
            raise ConnectionResetError

    place.server.batch.happens = lose
    done = place.first()
    assert (done.code, len(place.server.batch.jobs)) == (1, 1), done.output
    assert not place.is_settled
    assert place.fetch("--resume", "--yes").code == 0
    place.check_whole()


def test_a_submission_that_never_came_is_made_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reservation without a job is young: wait; is old: released, and submitted anew."""
    place.server.faults["batch.submit_job"] = Fault(500, b"{}")
    assert place.first().code == 1
    assert not place.is_settled
    place.server.faults.clear()
    early = place.fetch("--resume", "--yes")
    assert (early.code, "may still come" in early.output) == (5, True), early.output
    assert not place.server.batch.jobs
    monkeypatch.setattr("ifd_fast.fetching.GRACE_NS", 0)
    assert place.fetch("--resume", "--yes").code == 0
    place.check_whole()


def test_another_jobs_answer_isnt_taken(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of other symbols or days are not mistaken for the one that was lost."""
    monkeypatch.setattr("ifd_fast.fetching.GRACE_NS", 0)
    place.server.faults["batch.submit_job"] = Fault(500, b"{}")
    assert place.first().code == 1
    place.server.faults.clear()
    other = place._replace(out=place.out.with_name("other"))
    assert other.fetch(*DAYS, "--parents", "NQ.FUT", "--schemas", "mbo", "--yes").code == 0
    assert place.fetch("--resume", "--yes").code == 0
    assert len(place.server.batch.jobs) == 2


@pytest.mark.parametrize(
    ("state", "message"), [("expired", "are gone"), ("failed", "must be done in the end")]
)
def test_a_job_that_ended_otherwise_is_told(place: Place, state: str, message: str) -> None:
    """Expired and failed jobs are exit code 1 with the job's id and what to do."""
    place.server.batch.last_state = state
    done = place.first()
    assert (done.code, message in done.output) == (1, True), done.output
    assert "GLBX-20250612-" in done.output


def test_a_job_is_waited_for_ever_less_often(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits grow from seconds to a minute; a job that was billed otherwise than priced is told."""
    pauses: list[float] = []
    monkeypatch.setattr("ifd_fast.historical.time.sleep", pauses.append)
    place.server.batch.looks_until_done = 12
    place.server.batch.billed_usd = 3.0
    done = place.first()
    assert done.code == 0
    assert "billed $3.00, priced $2.00" in done.output
    assert len(pauses) == 12
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (2.0, 60.0)


def test_a_broken_download_goes_on_where_it_broke(place: Place) -> None:
    """Half a file came: the rest is asked for by range, and the whole is right."""
    place.server.batch.padding = 300_000
    place.server.batch.cuts[MBO] = 2
    assert place.first().code == 0
    place.check_whole()
    asked = [one for name, one in place.server.batch.ranges if name == MBO]
    first, *later = [0 if one is None else int(one[len("bytes=") : -1]) for one in asked]
    assert (first, len(later)) == (0, 2)
    assert 100_000 < later[0] < later[1] < 300_000  # all but a piece of what came


def test_a_server_without_ranges_is_begun_anew(place: Place) -> None:
    """Who sends all though a part was asked for doesn't make the file longer."""
    place.server.batch.padding = 300_000
    place.server.batch.cuts[MBO] = 1
    place.server.batch.ignores_ranges = True
    assert place.first().code == 0
    place.check_whole()


def test_a_wrong_checksum_is_fetched_once_more_then_refused(place: Place) -> None:
    """One bad copy is replaced; two are exit code 3, and nothing of the file stays."""
    place.server.batch.changed[MBO] = 2
    done = place.first()
    assert (done.code, "SHA-256" in done.output) == (3, True), done.output
    assert MBO in done.output
    assert not list(place.out.rglob(f"{MBO}*"))
    place.server.batch.changed[MBO] = 1
    assert place.fetch("--resume", "--yes").code == 0
    place.check_whole()


def test_a_full_disk_is_gone_on_with(place: Place) -> None:
    """A write that fails is exit code 1; what came stays, and --resume asks for the rest."""
    place.server.batch.padding = 600_000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))
    try:
        done = place.first()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, kept)
    assert (done.code, "nothing is paid again" in done.output) == (1, True), done.output
    (part,) = place.out.rglob("*.part")
    begun = part.stat().st_size
    assert 0 < begun <= 400_000
    assert place.fetch("--resume", "--yes").code == 0
    place.check_whole()
    name = part.name.removesuffix(".part")
    assert (name, f"bytes={begun}-") in place.server.batch.ranges


def test_a_disk_without_room_is_told_before(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't fit isn't begun; the jobs wait, paid."""
    room = os.statvfs(place.out.parent)
    free = type("Usage", (), {"total": room.f_blocks, "used": 0, "free": 100})()
    monkeypatch.setattr("ifd_fast.downloading.shutil.disk_usage", lambda _: free)
    done = place.first()
    assert (done.code, "are to come" in done.output) == (1, True), done.output
    assert not place.server.batch.ranges
    monkeypatch.undo()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/x", "https://files.example.com/x", "https://a@127.0.0.1/x", ""]
)
def test_the_key_goes_nowhere_else(place: Place, url: str) -> None:
    """A list that names files at another host, or without TLS, is refused: the key isn't sent."""
    place.server.batch.file_url = url or "ftp"
    done = place.first()
    assert (done.code, "The key is sent there" in done.output) == (1, True), done.output
    assert not place.server.batch.ranges


def test_two_fetches_dont_share_a_folder(place: Place) -> None:
    """A second one on the folder is exit code 4."""
    codes: list[int] = []

    def meanwhile(moment: str) -> None:
        if moment == "asked list_files" and not codes:
            codes.append(0)
            codes.append(subprocess_code(place))

    place.server.batch.happens = meanwhile
    assert place.first().code == 0
    assert codes == [0, 4]


def subprocess_code(place: Place) -> int:
    """Return how `--resume` in another process ends."""
    with place.command("--resume", "--yes") as process:
        return process.wait(60)


MOMENTS = [
    "asked submit_job",
    "before the answer to submit_job",
    "asked get_job_details",
    "asked list_files",
    f"sent {MBO}",
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_the_worst_moment_it_pays_once(
    place: Place, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Kill -9, then --resume: each job submitted once, paid once, all files whole."""
    monkeypatch.setattr("ifd_fast.fetching.GRACE_NS", 0)
    place.server.batch.padding = 500_000
    place.server.batch.looks_until_done = 1 if moment == "asked get_job_details" else 0
    killed: list[str] = []
    two = ("--parents", ",".join(PARENTS), "--schemas", "mbo,status")

    def kill(now: str) -> None:
        if now == moment and not killed:
            killed.append(now)
            process.send_signal(signal.SIGKILL)
            process.wait(10)
            if now == "asked submit_job":
                raise ConnectionResetError  # it never came

    place.server.batch.happens = kill
    with place.command(*DAYS, *two, "--yes") as process:
        assert process.wait(60) == -signal.SIGKILL
    assert killed == [moment]
    done = place.fetch("--resume", "--yes")
    assert done.code == 0, done.output
    place.check_whole("mbo", "status")


@pytest.mark.skipif(not KILLS, reason="FETCH_KILLS: how many kills")
def test_killed_at_any_moment_it_pays_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many kills at chance times, each resumed by the next, end as one fetch does."""
    monkeypatch.setattr("ifd_fast.fetching.GRACE_NS", 0)
    place.server.batch.padding = 2_000_000
    place.server.batch.looks_until_done = 0
    first = (*DAYS, "--parents", ",".join(PARENTS), "--yes")
    for number in range(KILLS):
        begun = (place.out / "fetch.json").exists()
        with place.command(*(("--resume", "--yes") if begun else first)) as process:
            threading.Event().wait(0.7 + 0.9 * ((number * 0.618) % 1))  # sleep is switched off
            process.kill()
    done = place.fetch("--resume", "--yes")
    assert done.code == 0, done.output
    place.check_whole(*SCHEMAS)
