"""A run's own account of what it was made from is enough to run again, and to notice a change."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ifd_fast.config import load_settings
from ifd_fast.errors import DataError, UsageError
from ifd_fast.recordings import FileHasher, differing_keys, digest_file, open_recording
from ifd_fast.replaying import replay
from tests.strategies_interface import market, store


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a replay of a small market, which lies beside it."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "market.dbn").write_bytes(market())
    replay(folder / "market.dbn", profile="ifd_v3_testing", baselines=store(), out=folder / "run")
    return folder / "run"


def test_a_run_names_its_input_and_settings(run_folder: Path) -> None:
    """Files with the SHA-256 of their bytes, the store, and every setting, as they were."""
    recording = open_recording(run_folder)
    expected = hashlib.sha256(market()).hexdigest()
    assert recording.file_digests == {str(run_folder.parent / "market.dbn"): expected}
    assert recording.baselines == store()
    assert recording.settings.profile == load_settings("ifd_v3_testing").profile
    assert recording.found["signals_digest"]
    assert recording.changed_files() == []


def test_one_changed_byte_is_noticed(run_folder: Path, tmp_path: Path) -> None:
    """A record that differs in one byte is named, with the way to see it."""
    data = bytearray(market())
    data[-20] ^= 1
    (tmp_path / "changed.dbn").write_bytes(data)
    recording = open_recording(run_folder, record=[tmp_path / "changed.dbn"])
    (fault,) = recording.changed_files()
    assert "changed.dbn" in fault
    assert hashlib.sha256(data).hexdigest()[:16] in fault


def test_a_file_left_out_is_noticed(run_folder: Path) -> None:
    """All recorded files are needed, not only some of them."""
    recording = open_recording(run_folder)
    names = recording.document["files"]
    recording.document["files"] = [*names, {"name": "other.dbn", "sha256": "0" * 64}]
    assert "1 of 2 recorded files are missing" in recording.changed_files()[0]


def test_baselines_that_changed_are_noticed(run_folder: Path) -> None:
    """Estimates of other sessions than those recorded are refused, by date."""
    recording = open_recording(run_folder)
    recording.check_baselines(dict(recording.document["baselines"]))
    with pytest.raises(DataError, match=r"2026-02-02 .* other sessions"):
        recording.check_baselines({"2026-02-02": "f" * 64})


def test_settings_that_differ_are_named() -> None:
    """Each rule in which two profiles differ is named with both values, other keys are not."""
    keys = differing_keys(
        load_settings("ifd_v3_testing").profile,
        load_settings("ifd_v3_testing", {"cooldown_s": 5.0, "log_level": "error"}).profile,
    )
    assert keys == ["`scoring.cooldown_s` is 300.0, not 5.0"]


def test_what_cannot_be_run_again_says_why(run_folder: Path, tmp_path: Path) -> None:
    """No folder, no report, an edited report, a file that is gone: each is refused by name."""
    with pytest.raises(UsageError, match="--run"):
        open_recording()
    with pytest.raises(UsageError, match=r"holds no session\.json"):
        open_recording(tmp_path)
    (tmp_path / "session.json").write_text("{}")
    with pytest.raises(DataError, match="no report of a run"):
        open_recording(tmp_path)
    document = json.loads((run_folder / "session.json").read_text())
    document["settings"]["scoring"]["cooldown_s"] = 1.0
    (tmp_path / "session.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="rules digest"):
        open_recording(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        open_recording(run_folder, record=[tmp_path / "gone.dbn"])


def test_hashing_stops_with_its_block(tmp_path: Path) -> None:
    """What is no file has no digest, and a block that raises does not wait for big files."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with FileHasher([str(path), "no such file"]) as hasher:
        assert hasher.digests() == {str(path): hashlib.sha256(b"x").hexdigest()}
    assert digest_file(path, lambda: True) == hashlib.sha256().hexdigest()
