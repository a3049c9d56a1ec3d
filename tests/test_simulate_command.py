"""`ifd simulate`: files that databento reads, reproducible to the byte, and clear refusals."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from databento import DBNStore

from ifd_fast.commands.simulate import simulate
from ifd_fast.errors import UsageError
from ifd_fast.simulated_files import parse_plant, pick_sessions, spread_records
from ifd_fast.simulated_sessions import SimulatedSession
from ifd_fast.simulation import Simulation
from ifd_fast.truth import read_truth
from ifd_fast.world import load_world
from ifd_kernels.market_state import S_TS_EVENT

SMALL = """
name = "small"
[chain]
expiries = ["quarter"]
strikes = 5
spreads = 2
[clock]
quotes_s = 0.1
[flow]
future_trades_hour = 20.0
[[flow.tiers]]
share = 1.0
trades_hour_low = 2.0
trades_hour_high = 8.0
[book]
live_orders = 400
"""


def run(folder: Path, *arguments: str) -> Result:
    """Run the command on a small world."""
    world = folder / "small.toml"
    world.write_text(SMALL)
    out = str(folder / "out")
    return CliRunner().invoke(
        simulate, ["--preset", str(world), "--out", out, *arguments], catch_exceptions=False
    )


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file written."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "out").iterdir())
    }


@pytest.mark.jit
@pytest.mark.filterwarnings("ignore:The inplace keyword")  # databento's own call of pandas
def test_databento_reads_what_is_written(tmp_path: Path) -> None:
    """Its `to_df` maps every record to its symbol by the file's own metadata."""
    run(tmp_path, "--sessions", "1")
    (path,) = (tmp_path / "out").glob("*.mbo.dbn.zst")
    frame = DBNStore.from_bytes(path.read_bytes()).to_df()
    truth = json.loads(next((tmp_path / "out").glob("*.truth.json")).read_text())
    assert len(frame) == truth["records"]
    assert frame["symbol"].notna().all()
    assert set("ACMTFR") <= set(frame["action"])
    assert frame.index.is_monotonic_increasing


@pytest.mark.jit
def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    """A session's files depend on world, seed and day, not on how many sessions are asked for."""
    for name in "abc":
        (tmp_path / name).mkdir()
    run(tmp_path / "a", "--sessions", "1")
    run(tmp_path / "b", "--sessions", "2")
    run(tmp_path / "c", "--seed", "2")
    one, two, other = (digests(tmp_path / name) for name in "abc")
    assert len(two) == 2 * len(one)
    assert one.items() <= two.items()
    assert not any(one[name] == other[name] for name in one if ".mbo." in name)


@pytest.mark.jit
def test_an_uncompressed_file_has_the_same_records(tmp_path: Path) -> None:
    """--no-compress changes the wrapping, nothing else."""
    run(tmp_path)
    run(tmp_path, "--no-compress")
    (packed,) = (tmp_path / "out").glob("*.mbo.dbn.zst")
    (plain,) = (tmp_path / "out").glob("*.mbo.dbn")
    assert DBNStore.from_bytes(packed.read_bytes()).to_ndarray().tobytes() == (
        DBNStore.from_bytes(plain.read_bytes()).to_ndarray().tobytes()
    )


@pytest.mark.jit
def test_a_session_cut_short_says_so(tmp_path: Path) -> None:
    """With --records the metadata has a limit: the rest of the session was not observed."""
    run(tmp_path)
    (path,) = (tmp_path / "out").glob("*.mbo.dbn.zst")
    assert DBNStore.from_bytes(path.read_bytes()).metadata.limit is None
    run(tmp_path, "--records", "2000")
    store = DBNStore.from_bytes(path.read_bytes())
    assert store.metadata.limit == 2000
    assert 2000 <= len(store.to_ndarray()) < 2100  # the packet at hand is completed


@pytest.mark.jit
def test_plants_go_into_the_last_session(tmp_path: Path) -> None:
    """A planted metaorder is in the last session's truth, child by child; the others have none."""
    plant = "NQH6 C21000:BUY:3600:300:40:8"
    result = run(tmp_path, "--sessions", "2", "--plant", plant, "--report")
    assert result.exit_code == 0
    assert "records" in result.output
    first, last = sorted((tmp_path / "out").glob("*.truth.json"))
    assert json.loads(first.read_text())["plants"] == []
    (found,) = json.loads(last.read_text())["plants"]
    assert sum(child["filled"] for child in found["trades"]) == 40


@pytest.mark.jit
@pytest.mark.parametrize("span", [0.1, 20.0])
def test_records_are_spread_over_a_span(span: float) -> None:
    """A workload's records last about as long as asked for."""
    world = load_world("w1")
    world = msgspec.structs.replace(
        world, book=msgspec.structs.replace(world.book, live_orders=0, snapshot=False)
    )
    (session,) = pick_sessions(dt.date(2026, 3, 10), 1)
    records = 200_000
    simulation = Simulation(spread_records(world, records, span), 1, session, records=records)
    for _ in simulation:
        pass
    lasted_ns = int(simulation.market.state[S_TS_EVENT]) - simulation.start_ns
    assert lasted_ns / 1e9 == pytest.approx(span, rel=0.15)


def test_a_plant_is_read_from_its_text() -> None:
    """Symbols may hold colons; the number of children has a default."""
    plant = parse_plant("UD:1V: VT 2500000:SELL:10:60:50")
    assert plant.symbol == "UD:1V: VT 2500000"
    assert (plant.side, plant.contracts, plant.children) == ("SELL", 50, 10)
    assert parse_plant("NQH6 C21000:BUY:1.5:60:50:7").children == 7


@pytest.mark.parametrize(
    "text", ["", "NQH6 C1:HOLD:1:2:3", "NQH6 C1:BUY:1:2", "X:BUY:a:2:3", "X:BUY:1:0:3:1"]
)
def test_an_unclear_plant_is_refused(text: str) -> None:
    """What is no plant is refused with what one looks like, or which part is wrong."""
    with pytest.raises(UsageError, match="--plant"):
        parse_plant(text)


def test_a_wrong_date_is_refused(tmp_path: Path) -> None:
    """A date that is none, and one past the calendar, are named."""
    with pytest.raises(UsageError, match="YYYY-MM-DD"):
        run(tmp_path, "--start-date", "soon")
    with pytest.raises(UsageError, match="calendar"):
        run(tmp_path, "--start-date", "2099-01-01")
    with pytest.raises(UsageError, match="--records"):
        run(tmp_path, "--span", "3")


LIVELY = """
[arrivals]
season = [1.0]
regular_end_s = 70000.0
[labels]
durations_s = [60.0, 300.0]
[labels.negatives]
maker_turn = 1.0
odd_lots = 1.0
"""


@pytest.mark.jit
def test_truth_is_written_beside_the_files(tmp_path: Path) -> None:
    """A world with labels gets its truth as frames; the same bytes come in memory."""
    world = tmp_path / "lively.toml"
    tiers = "[[flow.tiers]]\nshare = 1.0\ntrades_hour_low = 20.0\ntrades_hour_high = 90.0\n"
    world.write_text(SMALL.split("[[flow.tiers]]", maxsplit=1)[0] + tiers + LIVELY)
    out = tmp_path / "out"
    arguments = ["--preset", str(world), "--out", str(out), "--no-compress", "--report"]
    arguments += ["--sessions", "1", "--plants", "2", "--negatives", "2"]
    result = CliRunner().invoke(simulate, arguments, catch_exceptions=False)
    assert "size of T" in result.output
    stem = "glbx-mdp3-20260105"
    truth = read_truth(out, stem)
    assert truth.episodes.height >= 4
    assert (truth.children["filled"] > 0).all()
    day = dt.date(2026, 1, 5)
    session = SimulatedSession(load_world(world), 1, day, plants=2, negatives=2)
    assert b"".join(session.mbo_chunks()) == (out / f"{stem}.mbo.dbn").read_bytes()
    for actual, expected in zip(session.truth(), truth, strict=True):
        assert actual.equals(expected)


def test_a_null_session_plants_nothing(tmp_path: Path) -> None:
    """`--null` with something to plant is refused."""
    with pytest.raises(UsageError, match="--null"):
        run(tmp_path, "--null", "--plants", "3")
