"""Sources in stores: listed, brought once, checked; what the URL hides stays hidden."""

from __future__ import annotations

import datetime as dt
import importlib.util
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest

from ifd_fast import remote_files
from ifd_fast.errors import DataError, UsageError
from ifd_fast.finding import Findings, find_sources
from tests.strategies_batch import batch_files, day_file

pytestmark = pytest.mark.border

DAYS = [dt.date(2025, 6, 9), dt.date(2025, 6, 10)]
FIRST, SECOND = (f"glbx-mdp3-{day:%Y%m%d}.mbo.dbn.zst" for day in DAYS)
BUCKET = "memory://bucket/GLBX-1"


@pytest.fixture
def store() -> Iterator[Any]:
    """Return a store in memory with a batch folder, a file more in it, and a definition."""
    system = fsspec.filesystem("memory")
    for name, data in batch_files("GLBX-1", "mbo", DAYS).items():
        system.pipe(f"/bucket/GLBX-1/{name}", data)
    system.pipe("/bucket/GLBX-1/notes.txt", b"mine")
    system.pipe("/bucket/day.definition.dbn.zst", day_file("definition", DAYS[0]))
    yield system
    system.rm("/bucket", recursive=True)


@pytest.fixture
def brought(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of files that are received from a store, as they are."""
    names: list[str] = []
    receive = remote_files.Store._receive

    def count(self: remote_files.Store, one: remote_files.RemoteFile, part: Path) -> None:
        names.append(one.name)
        receive(self, one, part)

    monkeypatch.setattr(remote_files.Store, "_receive", count)
    return names


def names(found: Findings) -> list[tuple[str, str]]:
    """Return kind and name of each file."""
    return [(one.kind, one.name) for one in found.files]


def test_a_stores_folder_is_brought_once(store: Any, brought: list[str], tmp_path: Path) -> None:
    """All below it is found, what can't be data stays there, and a second search brings nothing."""
    found = find_sources(["memory://bucket"], cache=tmp_path)
    assert sorted(names(found)) == [
        ("definition", "memory://bucket/day.definition.dbn.zst"),
        ("mbo", f"{BUCKET}/{FIRST}"),
        ("mbo", f"{BUCKET}/{SECOND}"),
    ]
    assert found.unknown == (f"{BUCKET}/notes.txt",)
    assert not found.faults
    assert "notes.txt" not in brought
    assert len(brought) == 7
    for one in found.files:
        if one.kind == "mbo":
            assert one.path.read_bytes() == store.cat(f"/bucket/GLBX-1/{one.path.name}")
            assert one.sha256
    assert find_sources(["memory://bucket"], cache=tmp_path) == found
    assert len(brought) == 7


def test_a_changed_file_is_brought_again(store: Any, brought: list[str], tmp_path: Path) -> None:
    """What the store has changed is brought anew; what the copy lost is, too."""
    url = "memory://bucket/day.definition.dbn.zst"
    (before,) = find_sources([url], cache=tmp_path).files
    store.pipe("/bucket/day.definition.dbn.zst", day_file("status", DAYS[0]))
    (after,) = find_sources([url], cache=tmp_path).files
    assert (before.kind, after.kind, before.path) == ("definition", "status", after.path)
    after.path.write_bytes(b"cut")
    assert find_sources([url], cache=tmp_path).files == (after,)
    assert brought == ["day.definition.dbn.zst"] * 3


@pytest.mark.parametrize("source", [f"{BUCKET}/{FIRST}", f"{BUCKET}/*0609*", BUCKET])
def test_a_stores_manifest_is_kept(store: Any, source: str, tmp_path: Path) -> None:
    """A file that isn't what the manifest beside it says is a fault, and its copy is dropped."""
    sound = store.cat(f"/bucket/GLBX-1/{FIRST}")
    store.pipe(f"/bucket/GLBX-1/{FIRST}", sound[:-1] + b"?")
    found = find_sources([source], cache=tmp_path)
    assert [one.name for one in found.faults] == [f"{BUCKET}/{FIRST}"]
    assert "SHA-256" in found.faults[0].reason
    assert not list(tmp_path.rglob(FIRST))
    store.pipe(f"/bucket/GLBX-1/{FIRST}", sound)
    assert FIRST in {one.path.name for one in find_sources([source], cache=tmp_path).files}


def test_a_file_that_isnt_there_is_missed(store: Any, tmp_path: Path) -> None:
    """What a store's manifest lists and the store hasn't is a fault with its URL."""
    store.rm(f"/bucket/GLBX-1/{SECOND}")
    found = find_sources([BUCKET], cache=tmp_path)
    assert [one.name for one in found.faults] == [f"{BUCKET}/{SECOND}"]
    assert len(found.files) == 1


def test_a_file_that_cant_be_had_doesnt_lose_the_others(
    store: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A store that refuses one file is a fault of that file, named once."""
    receive = remote_files.Store._receive

    def refuse(self: remote_files.Store, one: remote_files.RemoteFile, part: Path) -> None:
        if one.name == FIRST:
            raise DataError("refused")
        receive(self, one, part)

    monkeypatch.setattr(remote_files.Store, "_receive", refuse)
    found = find_sources([BUCKET], cache=tmp_path)
    assert [tuple(one) for one in found.faults] == [(f"{BUCKET}/{FIRST}", "refused")]
    assert [one.path.name for one in found.files] == [SECOND]
    assert not list(tmp_path.rglob("*.part"))


UNREACHED = [
    ("memory://bucket/nowhere", DataError, "no such file"),
    ("memory://bucket/*.csv", DataError, "no such file"),
    ("nothing://bucket", UsageError, "can't be reached"),
    ("s3://bucket/x", UsageError, r"ifd-fast\[s3\]"),
]


@pytest.mark.parametrize(("url", "kind", "message"), UNREACHED)
def test_a_url_that_leads_nowhere_is_named(
    store: Any, tmp_path: Path, url: str, kind: type[Exception], message: str
) -> None:
    """Nothing there, and no way to get there, are errors with the URL."""
    if url.startswith("s3") and importlib.util.find_spec("s3fs"):
        pytest.skip("s3fs is installed")
    with pytest.raises(kind, match=message) as caught:
        find_sources([url], cache=tmp_path)
    assert url in str(caught.value)


def test_a_url_needs_a_place_for_copies(store: Any) -> None:
    """Without a folder for copies a URL is wrong usage; its query isn't shown."""
    with pytest.raises(UsageError, match="folder for copies") as caught:
        find_sources(["https://me:secret@example.com/a.dbn?X-Sig=secret"])
    assert "secret" not in str(caught.value)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """Serve a batch folder over http; return its URL."""
    folder = tmp_path / "served" / "GLBX-2"
    folder.mkdir(parents=True)
    for name, data in batch_files("GLBX-2", "mbo", DAYS).items():
        (folder / name).write_bytes(data)
    handler = partial(_Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/GLBX-2"
        server.shutdown()
        thread.join()


def test_a_web_servers_folder_and_files(web: str, brought: list[str], tmp_path: Path) -> None:
    """A folder that ends with a slash is read by its links; a signed URL names one file."""
    found = find_sources([f"{web}/"], cache=tmp_path / "cache")
    assert names(found) == [("mbo", f"{web}/{FIRST}"), ("mbo", f"{web}/{SECOND}")]
    assert not found.faults
    count = len(brought)
    again = find_sources([f"{web}/{FIRST}?X-Sig=secret"], cache=tmp_path / "cache")
    assert names(again) == [("mbo", f"{web}/{FIRST}")]
    assert len(brought) == count
    with pytest.raises(DataError, match="no such file") as caught:
        find_sources([f"{web}/none.dbn?X-Sig=secret"], cache=tmp_path / "cache")
    assert "secret" not in str(caught.value)
