"""`ifd evaluate` whole, on a small market: what it writes, and that workers don't count.

Goal: every step of the run in seconds. The numbers themselves are for the command, not for a test.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import polars as pl
import pytest
from click.testing import CliRunner

from ifd_fast import evaluating
from ifd_fast.commands.evaluate import evaluate as command
from ifd_fast.evaluating import (
    Plan,
    Workers,
    claim_tasks,
    history_plans,
    session_tasks,
)
from ifd_fast.evaluation import evaluate, number_of
from ifd_fast.evaluation_numbers import AT_OUR_RATE
from ifd_fast.evaluation_run import (
    CLAIM_BATCH,
    MOST_BATCHES,
    Wanted,
    gather_claims,
    run_parts,
)
from ifd_fast.evaluation_suites import (
    Suite,
    judge,
    mirror_differences,
    run_suites,
    summarize_run,
)
from ifd_fast.matching import units_of
from ifd_fast.truth import read_truth
from ifd_fast.world import World, load_world
from tests.strategies_evaluation import little_plan

pytestmark = [pytest.mark.jit, pytest.mark.slow]


def small_world() -> World:
    """Return the evaluation's world with a third of the strikes, so that all negatives fit."""
    world = load_world("evaluation")
    replace = msgspec.structs.replace
    return replace(
        world,
        name="small",
        chain=replace(world.chain, strikes=25),
        clock=replace(world.clock, quotes_s=0.5),
        book=replace(world.book, live_orders=4_000),
    )


def two_histories() -> Plan:
    """Return a plan whose sessions are dealt out over two histories."""
    return little_plan(histories=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """Return a finished run's folder and document."""
    out = tmp_path_factory.mktemp("run")
    with Workers(1) as workers:
        return out, evaluate(two_histories(), out, workers)


def test_every_step_leaves_its_files(run: tuple[Path, dict[str, object]]) -> None:
    """Sessions hold flow, truth, rivals and bounds; the document has every column and row."""
    out, document = run
    plan = two_histories()
    histories = [out / f"history-{one.history_key()}" for one in history_plans(plan)]
    tasks = session_tasks(plan, out, histories)
    names = {"handovers", "signals", "instruments", "rivals", "bounds", "session.truth"}
    for task in tasks:
        held = {path.name.removesuffix(".parquet") for path in task.folder.iterdir()}
        assert names - {"rivals", "bounds"} <= held
        assert "fine" in task.name or names <= held
    assert document["sessions"] == {"planted": 1, "power": 1, "null": 2, "fine": 1}
    rows = document["histories"]
    assert isinstance(rows, list)
    assert [row["seed"] for row in rows] == [one.seed for one in history_plans(plan)]
    assert [(row["null_sessions"], row["planted_sessions"]) for row in rows] == [(1, 1), (1, 0)]
    recall, columns = document["recall"], document["columns"]
    assert isinstance(recall, list)
    assert isinstance(columns, list)
    rules = "original", "zscore", "mad", "net_root", "volume_oi", "knows_rates", "clairvoyant"
    equal = {rule + AT_OUR_RATE for rule in rules}
    assert set(recall[0]["columns"]) == {"ifd_fast", *rules, *equal}
    found = {row["name"]: row["false_alerts"] for row in columns}
    assert max(found[name] for name in equal) <= max(found["ifd_fast"], 1 / 2)
    planted = [
        units_of(
            read_truth(task.folder, "session").episodes.with_columns(session=pl.lit(task.seed))
        )
        for task in tasks
        if task.name.startswith(("planted", "power"))
    ]
    units = sum(frame.n_unique("unit") for frame in planted)
    assert recall[0]["count"] == units >= 3  # the finely scored ones are not planted twice
    handed = pl.read_parquet(tasks[0].folder / "handovers.parquet")
    facts = pl.read_parquet(out / f"history-{plan.history_key()}" / "2026-01-05" / "facts.parquet")
    assert handed.height > 100
    assert facts.height > 100


def test_workers_change_nothing(run: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    """Two processes give the document of one, byte for byte."""
    out, _ = run
    with Workers(2) as workers:
        evaluate(two_histories(), tmp_path, workers)
    expected = (out / "evaluation.json").read_bytes()
    assert (tmp_path / "evaluation.json").read_bytes() == expected


def test_finished_sessions_are_not_played_again(
    run: tuple[Path, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second call only reports, with the same document."""
    out, document = run

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(evaluating, "play_session", never)
    with Workers(1) as workers:
        assert evaluate(two_histories(), out, workers) == document


def test_bounds_of_other_tables_are_made_again(run: tuple[Path, dict[str, object]]) -> None:
    """A session's bounds stay while the null sessions behind them do, each by itself."""
    out, document = run
    files = sorted(out.glob("sessions-*/*/bounds.key"))
    assert len(files) == 4
    assert len({file.read_text() for file in files}) == 1
    files[0].write_text("other")
    kept = {file: file.stat().st_mtime_ns for file in files[1:]}
    with Workers(1) as workers:
        assert evaluate(two_histories(), out, workers) == document
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert files[0].read_text() == files[1].read_text()


def test_hand_overs_are_the_flow(run: tuple[Path, dict[str, object]]) -> None:
    """Contracts handed over are those of the windows but packages: nothing else is lost."""
    out, _ = run
    plan = two_histories()
    folder = out / f"history-{plan.history_key()}" / "2026-01-05"
    facts = (
        pl.read_parquet(folder / "facts.parquet")
        .group_by("instrument_id")
        .agg(pl.col("bid_volume", "ask_volume", "unknown_volume", "package_volume").sum())
    )
    handed = (
        pl.read_parquet(folder / "handovers.parquet")
        .group_by("instrument_id")
        .agg(pl.col("bid_volume", "ask_volume").sum().cast(pl.Int64))
    )
    both = facts.join(handed, "instrument_id", suffix="_handed")
    # the close's last second is sealed but scored no more
    slack = 0.002 * float(both["ask_volume"].sum())
    assert both.height == handed.height
    alone = both.filter(pl.col("package_volume") == 0)
    assert 0 <= (alone["ask_volume"] - alone["ask_volume_handed"]).sum() <= slack
    short = sum(both[f"{side}_volume"] - both[f"{side}_volume_handed"] for side in ("bid", "ask"))
    packaged, unknown = both["package_volume"], both["unknown_volume"]
    assert packaged.sum() > 0
    assert ((packaged - unknown <= short) & (short >= 0)).all()
    assert (short - packaged).clip(0).sum() <= 2 * slack


def test_mirrored_sessions_alert_in_the_mirror(
    run: tuple[Path, dict[str, object]],
) -> None:
    """Alerts of mirrored history and session are the mirrored alerts: nothing differs."""
    out, _ = run
    with Workers(1) as workers:
        assert mirror_differences(two_histories(), out, workers)["differing"] == 0


def test_a_suite_row(run: tuple[Path, dict[str, object]]) -> None:
    """A suite's run leaves rivals out and tells false alerts, recall and grades."""
    out, _ = run
    with Workers(1) as workers:
        plan = little_plan(columns=False, fine_sessions=0)
        row = summarize_run(Suite("little", plan, 2.0), out, workers)
    assert row["name"] == "little"
    assert row["sessions"] == {"planted": 1, "power": 1, "null": 2}
    assert set(row["recall"]) == {"thin", "low", "mid", "busy"}
    assert row["limit"] == 2 * row["promised"]
    assert row["met"] is judge(row["false_alerts"], row["interval"][1], row["limit"])


def test_suites_share_what_is_the_same(
    run: tuple[Path, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Suites of the main run's own market play nothing again, and tell their rows as they come."""
    out, _ = run

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(evaluating, "play_session", never)
    suites = [Suite(str(n), little_plan(columns=False, fine_sessions=0), 2.0) for n in range(5)]
    told: list[int] = []
    with Workers(1) as workers:
        rows = run_suites(suites, out, workers, lambda found: told.append(len(found)))
    assert [row["name"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert told == [4, 5]


def test_claims_come_in_whole_batches(
    run: tuple[Path, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions are added until there are claims enough, or no more batches; then none is played."""
    monkeypatch.setattr("ifd_fast.evaluation_run.CLAIM_BATCH", 1)
    monkeypatch.setattr("ifd_fast.evaluation_run.MOST_BATCHES", 2)
    out, _ = run
    with Workers(1) as workers:
        none = gather_claims(two_histories(), 0, out, workers)
        some = gather_claims(two_histories(), 10**6, out, workers)
        monkeypatch.setattr(evaluating, "play_session", None)
        assert gather_claims(two_histories(), 10**6, out, workers) == some
    assert (none["sessions"], some["sessions"]) == (1, 3)
    assert some["candidates"] == sum(row["claims"] for row in some["histories"])
    assert [row["claims"] for row in none["histories"]] == [none["candidates"], 0]
    assert all(row["claims"] for row in some["histories"])


def test_claims_share_no_session_with_anything() -> None:
    """Histories and sessions of all kinds and batches have seeds of their own."""
    plan = little_plan(histories=99, sessions=200, null_sessions=200, power_sessions=200)
    plans = history_plans(plan)
    folders = [Path()] * len(plans)
    tasks = session_tasks(plan, Path(), folders)
    tasks += claim_tasks(plan, Path(), folders, range(CLAIM_BATCH * MOST_BATCHES))
    seeds = [one.seed for one in plans]
    seeds += [task.seed for task in tasks if not task.name.startswith("fine")]
    assert len(set(seeds)) == len(seeds) == 99 + 600 + CLAIM_BATCH * MOST_BATCHES


def test_sessions_are_dealt_out_over_the_histories(tmp_path: Path) -> None:
    """Each kind's go round; one's history, seed and folder depend on no other kind's number."""
    plan = little_plan(histories=3, sessions=7, null_sessions=5, fine_sessions=4)
    folders = [tmp_path / str(number) for number in range(3)]
    tasks = {task.name: task for task in session_tasks(plan, tmp_path, folders)}
    plans = history_plans(plan)
    for name, task in tasks.items():
        place = int(name[-4:]) % 3
        assert task.arrays == folders[place] / "baselines.arrays"
        assert task.plan.seed == plans[place].seed
    more = session_tasks(msgspec.structs.replace(plan, sessions=9), tmp_path, folders)
    kept = {(task.name, task.seed, task.folder, task.arrays) for task in more}
    assert {(one.name, one.seed, one.folder, one.arrays) for one in tasks.values()} <= kept
    for number in range(4):
        assert tasks[f"fine-{number:04d}"].seed == tasks[f"planted-{number:04d}"].seed


def test_a_cut_run_keeps_its_finished_parts(
    run: tuple[Path, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was finished stands in the file, which names what is missing."""
    out, document = run

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ifd_fast.evaluation_run.run_suites", cut)
    wanted = Wanted(claims=0, worlds=2, stress=True, skip=("mirrors",))
    with Workers(1) as workers, pytest.raises(KeyboardInterrupt):
        run_parts(two_histories(), wanted, out, workers)
    written = json.loads((out / "evaluation.json").read_text())
    assert written["unfinished"] == ["stress", "worlds"]
    assert written["recall"] == json.loads(json.dumps(document["recall"]))


def test_the_command_writes_page_and_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ifd evaluate` prints the table and writes both files; its exit code is the run's check."""
    monkeypatch.setattr("ifd_fast.world.load_world", lambda _: small_world())
    out = tmp_path / "out"
    result = CliRunner().invoke(
        command, ["--quick", "--workers", "1", "--history-sessions", "2", "--out", str(out)]
    )
    assert "What was to be reached" in result.output, result.exception
    document = json.loads((out / "evaluation.json").read_text())
    assert document["mirrors"]["differing"] == 0
    assert (out / "evaluation.html").stat().st_size > 10_000
    assert (result.exit_code == 0) == (document["faults"] == [])


def test_session_numbers_are_distinct(tmp_path: Path) -> None:
    """Every task of a plan has a number and a folder of its own; only fine ones share seeds."""
    plan = little_plan(sessions=3, power_sessions=3, null_sessions=3, fine_sessions=2)
    tasks = session_tasks(plan, tmp_path, [tmp_path])
    assert len({number_of(task) for task in tasks}) == len(tasks) == 11
    assert len({task.folder for task in tasks}) == 11
    seeds = [task.seed for task in tasks if not task.name.startswith("fine")]
    assert len(set(seeds)) == 9
