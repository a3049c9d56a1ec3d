"""Sources by name: what is DBN is taken by its header, the rest is named, manifests are kept."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path

import pytest

from ifd_fast.errors import DataError
from ifd_fast.finding import Findings, find_sources
from tests.strategies_batch import day_file, write_batch
from tests.strategies_wire import header

pytestmark = pytest.mark.border

DAYS = [dt.date(2025, 6, 9), dt.date(2025, 6, 10)]
FIRST = "glbx-mdp3-20250609.mbo.dbn.zst"


def names(found: Findings) -> list[tuple[str, str]]:
    """Return kind and name of each file."""
    return [(one.kind, one.path.name) for one in found.files]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a file of each kind, and some that are none."""
    for schema in ("mbo", "definition", "status", "statistics", "trades"):
        (tmp_path / f"{schema}.dbn.zst").write_bytes(day_file(schema, DAYS[0]))
    (tmp_path / "live").mkdir()
    # a header without a schema: what a live capture begins with
    live = bytearray(header(3))
    live[24:26] = b"\xff\xff"
    (tmp_path / "live" / "capture.dbn").write_bytes(live)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "late.mbo.dbn.zst.part").write_bytes(day_file("mbo", DAYS[1]))
    return tmp_path


def test_a_folder_is_searched_by_header(folder: Path) -> None:
    """Kinds are those of the headers; other files are named, once each, and not taken."""
    found = find_sources([folder])
    assert names(found) == [
        ("definition", "definition.dbn.zst"),
        ("mbo", "mbo.dbn.zst"),
        ("statistics", "statistics.dbn.zst"),
        ("status", "status.dbn.zst"),
        ("other", "trades.dbn.zst"),
        ("mbo", "capture.dbn"),
    ]
    assert found.unknown == (str(folder / "late.mbo.dbn.zst.part"), str(folder / "notes.txt"))
    assert not found.faults
    assert {one.sha256 for one in found.files} == {None}


def test_files_globs_and_folders_take_each_file_once(folder: Path) -> None:
    """The order is that of the sources; a file that two of them name is there once."""
    sources: list[str | Path] = [
        str(folder / "st*.dbn.zst"),
        folder / "mbo.dbn.zst",
        folder,
        folder / "mbo.dbn.zst",
    ]
    found = find_sources(sources)
    assert names(found)[:3] == [
        ("statistics", "statistics.dbn.zst"),
        ("status", "status.dbn.zst"),
        ("mbo", "mbo.dbn.zst"),
    ]
    assert len(found.files) == 6
    deep = find_sources([str(folder / "**" / "*.dbn")])
    assert names(deep) == [("mbo", "capture.dbn")]


def test_a_linked_folder_is_named_not_followed(folder: Path) -> None:
    """A link to a folder could lead round in a ring: below a source it is unknown."""
    (folder / "live" / "ring").symlink_to(folder)
    found = find_sources([folder])
    assert str(folder / "live" / "ring") in found.unknown
    assert len(found.files) == 6


def test_what_is_named_is_looked_into_whatever_its_name(folder: Path) -> None:
    """A file that is named itself is taken by its header, though its name says nothing."""
    found = find_sources([folder / "late.mbo.dbn.zst.part"])
    assert names(found) == [("mbo", "late.mbo.dbn.zst.part")]


def test_a_damaged_file_doesnt_lose_the_others(folder: Path) -> None:
    """What can't be read is named with its reason; the rest is found."""
    (folder / "mbo.dbn.zst").write_bytes(b"nothing of the kind")
    found = find_sources([folder])
    (fault,) = found.faults
    assert fault.name == str(folder / "mbo.dbn.zst")
    assert "not a DBN stream" in fault.reason
    assert len(found.files) == 5
    with pytest.raises(DataError, match=r"1 sources can't be used:\n  .*mbo.dbn.zst"):
        found.require_whole()


@pytest.mark.parametrize("source", ["nowhere", "no*where", ""])
def test_a_source_that_isnt_there_is_named(tmp_path: Path, source: str) -> None:
    """No such path, a glob without a match and an empty folder are errors, not nothing."""
    with pytest.raises(DataError, match=source.replace("*", r"\*") or "no DBN file"):
        find_sources([tmp_path / source])


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    """Return a folder as a batch job delivers it."""
    return write_batch(tmp_path / "GLBX-20250611-ABC", "mbo", DAYS)


def test_a_batch_folder_is_held_to_its_manifest(batch: Path) -> None:
    """Sizes and checksums fit: files have their SHA-256, and nothing is unknown."""
    found = find_sources([batch])
    assert names(found) == [("mbo", FIRST), ("mbo", FIRST.replace("09", "10"))]
    for one in found.files:
        assert one.sha256 == hashlib.sha256(one.path.read_bytes()).hexdigest()
    assert (found.faults, found.unknown, found.conditions) == ((), (), {})
    found.require_whole()


def test_what_the_manifest_lists_is_missed(batch: Path) -> None:
    """A listed file that isn't there is a fault with its name, data or not."""
    (batch / FIRST).unlink()
    (batch / "symbology.json").unlink()
    found = find_sources([batch])
    assert [one.name for one in found.faults] == [
        str(batch / FIRST),
        str(batch / "symbology.json"),
    ]
    assert len(found.files) == 1


@pytest.mark.parametrize(
    ("cut", "reason"), [(True, "bytes, its manifest says"), (False, "SHA-256")]
)
def test_a_changed_file_is_refused(batch: Path, reason: str, *, cut: bool) -> None:
    """A file of another size, or another content of the same size, is a fault in every search."""
    data = (batch / FIRST).read_bytes()
    (batch / FIRST).write_bytes(
        data[:-1] if "bytes" in reason else data[:-1] + bytes([data[-1] ^ 1])
    )
    for source in (batch, batch / FIRST, f"{batch}/*0609*"):
        found = find_sources([source])
        assert [one.name for one in found.faults] == [str(batch / FIRST)]
        assert reason in found.faults[0].reason
        assert len(found.files) == (source == batch)


def test_a_changed_condition_is_refused(batch: Path) -> None:
    """A condition that was edited could hide a bad day: it is held to the manifest too."""
    text = (batch / "condition.json").read_text().replace("available", "degraded", 1)
    (batch / "condition.json").write_text(text)
    assert [one.name for one in find_sources([batch]).faults] == [str(batch / "condition.json")]


def test_a_file_beside_the_manifest_is_unknown(batch: Path) -> None:
    """Data that the manifest doesn't list is named, not taken."""
    (batch / "more.mbo.dbn.zst").write_bytes(day_file("mbo", DAYS[0]))
    found = find_sources([batch])
    assert found.unknown == (str(batch / "more.mbo.dbn.zst"),)
    assert len(found.files) == 2


MANIFESTS = [
    b"{",
    b"{}",
    b'{"files": [1]}',
    b'{"files": [{"filename": "../a.dbn", "size": 1, "hash": "sha256:00"}]}',
    b'{"files": [{"filename": "a.dbn", "size": 1, "hash": "md5:00"}]}',
    b'{"files": [{"filename": "a.dbn", "size": -1, "hash": ""}]}',
]


@pytest.mark.parametrize("text", MANIFESTS)
def test_without_a_sound_manifest_nothing_beside_it_is_taken(batch: Path, text: bytes) -> None:
    """A manifest that can't be read is a fault of the folder, whichever way it is searched."""
    (batch / "manifest.json").write_bytes(text)
    for source in (batch, batch / FIRST):
        found = find_sources([source])
        assert found.files == ()
        assert [one.name for one in found.faults] == [str(batch)]
        assert "manifest" in found.faults[0].reason


def test_a_manifest_that_lists_a_file_twice_is_none(batch: Path) -> None:
    """Two sizes for one name leave nothing to be held to."""
    tree = json.loads((batch / "manifest.json").read_bytes())
    tree["files"].append(tree["files"][-1])
    (batch / "manifest.json").write_text(json.dumps(tree))
    assert "twice" in find_sources([batch]).faults[0].reason


def test_days_that_are_not_available_are_told(tmp_path: Path) -> None:
    """The conditions of a batch folder that aren't `available` come with what was found."""
    write_batch(tmp_path / "GLBX-20250611-DEF", "mbo", DAYS, "degraded")
    found = find_sources([tmp_path])
    assert found.conditions == {"2025-06-09": "degraded", "2025-06-10": "degraded"}
    assert len(found.files) == 2


def test_a_known_checksum_is_not_computed_again(batch: Path) -> None:
    """Who keeps digests of files passes them: the files are not read for it."""
    asked: list[str] = []
    kept = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in batch.iterdir()}

    def look_up(path: Path) -> str:
        asked.append(path.name)
        return kept[path]

    assert len(find_sources([batch], digest=look_up).files) == 2
    assert sorted(asked) == sorted(one.name for one in batch.iterdir() if one.stem != "manifest")
