"""Files open by content, end where they should, and say exactly where they don't."""

from __future__ import annotations

import gc
import io
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zstandard

from ifd_fast.errors import DataError, FormatError, SchemaError, TruncatedError, UsageError
from ifd_fast.framing import Framer, allocate_ring
from ifd_fast.sources import Mapping, open_source, require_schema
from ifd_kernels.layout import CONSUMED, PUBLISHED
from tests.strategies_wire import header, mbo

SKIPPABLE = b"\x5a\x2a\x4d\x18\x07\x00\x00\x00skipped"
ESH4 = "glbx/futures/esh4-20231225-first24000.mbo.dbn.zst"


def dbn(records: int = 1_000) -> bytes:
    """Return a DBN file of `records` MBO records that don't compress away."""
    numbers = np.random.default_rng(1).integers(0, 2**63, records)
    return header(3) + b"".join(mbo(order_id=int(number)) for number in numbers)


def packed(data: bytes, *, checksum: bool = True) -> bytes:
    """Return `data` as one zstd frame."""
    return zstandard.ZstdCompressor(write_checksum=checksum).compress(data)


def content(path: object, chunk_bytes: int = 4_096) -> bytes:
    """Return all that a source yields, header first."""
    with open_source(path, chunk_bytes=chunk_bytes) as source:
        data = source.header.data + b"".join(chunk.tobytes() for chunk in source.chunks())
        assert source.bytes_read == source.bytes_total
        return data


def threads() -> list[threading.Thread]:
    """Return the decompression threads that run now."""
    return [thread for thread in threading.enumerate() if thread.name == "ifd-zstd"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """After each test no decompression thread runs."""
    yield
    if threads():
        gc.collect()  # seconds, with numba's objects about
    for thread in threads():
        thread.join(timeout=5)
    assert threads() == []


@pytest.mark.parametrize("chunk_bytes", [64, 1_000, 1 << 20])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda data: data,
        packed,
        lambda data: packed(data, checksum=False),
        lambda data: packed(data[:5_000]) + packed(data[5_000:]),
        lambda data: SKIPPABLE + packed(data[:9]) + SKIPPABLE * 2 + packed(data[9:]) + SKIPPABLE,
        lambda data: packed(b"") + packed(data),
        lambda data: zstandard.ZstdCompressor(level=1).compressobj().compress(b"") + packed(data),
    ],
    ids=["raw", "zstd", "no checksum", "two frames", "skippable", "empty frame", "plain"],
)
def test_every_form_gives_the_same_bytes(
    tmp_path: Path, wrap: Callable[[bytes], bytes], chunk_bytes: int
) -> None:
    """Raw, compressed, in several frames, with skippable ones: the content is the same."""
    data = dbn()
    path = tmp_path / "no-suffix"
    path.write_bytes(wrap(data))
    assert content(path, chunk_bytes) == data


def test_rle_and_raw_blocks_are_followed(tmp_path: Path) -> None:
    """Blocks of one repeated byte, and incompressible ones, are walked like the others."""
    noise = np.random.default_rng(2).bytes(300_000)
    data = dbn(1) + bytes(1_000_000) + noise
    path = tmp_path / "x.zst"
    path.write_bytes(packed(data) + packed(bytes(2_000_000)))
    assert content(path) == data + bytes(2_000_000)


def test_metadata_of_real_files(real_data: Callable[[str], Path]) -> None:
    """The ESH4 file says what it holds, and its symbol's days; version is the file's own."""
    with open_source(real_data(ESH4)) as source:
        metadata = source.metadata
        assert (metadata.version, metadata.dataset, metadata.schema) == (1, "GLBX.MDP3", "mbo")
        assert metadata.symbols == ("ESH4",)
        assert isinstance(metadata.mappings["ESH4"][0], Mapping)
        assert metadata.mappings["ESH4"][0].start_date == "2023-12-25"
        assert len(source.header.data) == 206
        require_schema(source, "mbo")
        with pytest.raises(SchemaError, match=r"holds schema 'mbo', definition is needed"):
            require_schema(source, "definition")
    with open_source(real_data("glbx/live/mixed.live.dbn.zst")) as live:
        assert (live.metadata.schema, live.metadata.end_ns) == (None, None)
        require_schema(live, "mbo")


def test_a_real_file_frames_whole(real_data: Callable[[str], Path]) -> None:
    """24,000 events, 1,344,206 bytes, nothing left over."""
    ring = allocate_ring(8_192)
    with open_source(real_data(ESH4)) as source:
        framer = Framer(ring, source.header.version, offset=len(source.header.data))
        for chunk in source.chunks():
            for _ in framer.frames(chunk):
                ring.cursor[CONSUMED] = ring.cursor[PUBLISHED]
    framer.finish()
    assert framer.counts()["events"] == 24_000
    assert framer.counts()["bytes"] == 1_344_206


@pytest.mark.parametrize("cut", [1, 4, 9, 100, 5_000, 20_000])
def test_a_truncated_frame_is_told_with_its_byte(tmp_path: Path, cut: int) -> None:
    """Wherever the file ends inside a frame, TruncatedError names file and byte."""
    whole = packed(dbn(4_000))
    path = tmp_path / "cut.dbn.zst"
    path.write_bytes(whole[:-cut])
    with pytest.raises(TruncatedError, match=rf"cut\.dbn\.zst: ends at byte {len(whole) - cut} "):
        content(path)


def test_a_truncated_second_frame_is_told(tmp_path: Path) -> None:
    """The message gives the byte at which the broken frame began."""
    first = packed(dbn(10))
    path = tmp_path / "cut.dbn.zst"
    path.write_bytes(first + packed(mbo() * 10)[:-3])
    with pytest.raises(TruncatedError, match=f"that began at byte {len(first)}"):
        content(path)


def test_flipped_bits_are_told() -> None:
    """Any flipped bit in a frame with a checksum ends in an error, never in other content."""
    data = dbn(40)
    whole = packed(data)
    messages = []
    for index in range(0, len(whole), 7):
        broken = bytearray(whole)
        broken[index] ^= 1 << index % 8
        # An unused bit of the frame's header may flip without harm: then the content is whole.
        try:
            assert content(io.BytesIO(broken)) == data
        except (FormatError, TruncatedError) as error:
            messages.append(str(error))
    assert len(messages) > len(whole) / 7 - 4
    assert all("file object" in message and "byte" in message for message in messages)


def test_appended_rubbish_is_told(tmp_path: Path) -> None:
    """Bytes behind the last frame that are none are refused at their byte."""
    whole = packed(dbn(10))
    path = tmp_path / "x.zst"
    path.write_bytes(whole + b"rubbish!")
    with pytest.raises(FormatError, match=f"no zstd frame begins at byte {len(whole)}"):
        content(path)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", FormatError, "is empty"),
        (b"PK\x03\x04 not dbn at all", FormatError, "not a DBN stream"),
        (b"DBN\x04" + bytes(200), FormatError, "DBN version 4"),
        (packed(b"DBN\x04" + bytes(200)), FormatError, "DBN version 4"),
        (packed(b"hello, world"), FormatError, "not a DBN stream"),
        (packed(b""), TruncatedError, "inside the DBN header"),
        (header(3)[:50], TruncatedError, "ends at byte 50 inside the DBN header"),
        (b"D", TruncatedError, "ends at byte 1 inside the DBN header"),
        (b"\x50\x2a\x4d\x18\x90\x00\x00\x00DBZ\x01", FormatError, "legacy DBZ.*dbn-cli"),
    ],
)
def test_what_is_no_dbn_is_refused(
    tmp_path: Path, data: bytes, error: type[DataError], message: str
) -> None:
    """The error is raised on opening, names the file, and has exit code 3."""
    path = tmp_path / "some.file"
    path.write_bytes(data)
    with pytest.raises(error, match=rf"some\.file: .*{message}") as caught:
        open_source(path)
    assert caught.value.exit_code == 3


def test_a_real_legacy_file_is_refused(real_data: Callable[[str], Path]) -> None:
    """DBZ is named, with the way to convert it."""
    with pytest.raises(FormatError, match=r"legacy DBZ file; convert it with dbn-cli"):
        open_source(real_data("versions/mbo.legacy.dbz"))


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    """Each is named, with exit code 3."""
    with pytest.raises(DataError, match="is a folder") as folder:
        open_source(tmp_path)
    with pytest.raises(DataError, match="no such file") as missing:
        open_source(str(tmp_path / "none.dbn"))
    assert folder.value.exit_code == missing.value.exit_code == 3


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    """What can't be read twice is refused by name."""
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe, pytest.raises(DataError, match="is a pipe or device"):
        open_source(pipe)


def test_a_file_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says to check owner and mode; root, who may read all, is played a refusal."""
    path = tmp_path / "locked.dbn"
    path.write_bytes(dbn(1))
    path.chmod(0)
    if os.access(path, os.R_OK):

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"locked\.dbn: no permission"):
        open_source(path)
    monkeypatch.undo()
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)


def test_a_read_error_reaches_the_caller() -> None:
    """A disk that fails in the middle is a DataError with the byte, from either thread."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 200_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(DataError, match="can't be read at byte 262144: Input/output error"):
        content(Failing(packed(dbn(60_000))))


def test_damaged_metadata_is_refused_when_asked_for() -> None:
    """Whatever the decoder says of broken metadata, it is a FormatError."""
    broken = bytearray(header(3))
    broken[52:116] = b"\xff" * 64
    with open_source(io.BytesIO(broken)) as source, pytest.raises(FormatError, match="metadata"):
        _ = source.metadata


def test_mappings_have_one_order(tmp_path: Path) -> None:
    """Symbols come sorted: slots are opened in this order, and floats summed in that of slots."""
    from tests.strategies_interface import head

    (tmp_path / "a.dbn").write_bytes(head())
    with open_source(tmp_path / "a.dbn") as source:
        symbols = list(source.metadata.mappings)
    assert len(symbols) > 2
    assert symbols == sorted(symbols)


def test_closing_early_stops_the_thread(tmp_path: Path) -> None:
    """Close in the middle, drop the generator, or drop the source: no thread stays."""
    path = tmp_path / "long.dbn.zst"
    path.write_bytes(packed(dbn(20_000)))
    with open_source(path, chunk_bytes=1_000) as source:
        chunks = source.chunks()
        next(chunks)
        assert len(threads()) == 1
    assert threads() == []
    dropped = open_source(path, chunk_bytes=1_000).chunks()
    next(dropped)
    dropped.close()  # type: ignore[attr-defined]  # a generator
    assert threads() == []
    open_source(io.BytesIO(path.read_bytes()), chunk_bytes=1_000)
    gc.collect()
    assert threads() == []


def test_a_closed_or_used_source_never_looks_whole(tmp_path: Path) -> None:
    """Going on after close, or asking for the chunks again, raises."""
    path = tmp_path / "long.dbn.zst"
    path.write_bytes(packed(dbn(20_000)))
    source = open_source(path, chunk_bytes=1_000)
    chunks = source.chunks()
    next(chunks)
    source.close()
    with pytest.raises(UsageError, match="closed while it was being read"):
        list(chunks)
    with pytest.raises(UsageError, match="taken before"):
        next(source.chunks())


def test_a_store_of_databento_is_a_source(tmp_path: Path) -> None:
    """Backed by a file or by memory, raw or compressed: known by its shape, not its import."""
    data = dbn(10)
    path = tmp_path / "store.dbn.zst"
    path.write_bytes(packed(data))
    on_disk = SimpleNamespace(_data_source=SimpleNamespace(path=path))
    in_memory = SimpleNamespace(_data_source=SimpleNamespace(), raw=path.read_bytes())
    assert content(on_disk) == content(in_memory) == data


@pytest.mark.slow
def test_a_real_store_is_a_source(real_data: Callable[[str], Path]) -> None:
    """The client's own class, made from a path and from bytes; in a process of its own."""
    script = """
import sys, databento
from ifd_fast.sources import open_source
path = sys.argv[1]
stores = databento.DBNStore.from_file(path), databento.DBNStore.from_bytes(open(path, "rb"))
for store in stores:
    with open_source(store) as source:
        print(source.metadata.version, sum(len(chunk) for chunk in source.chunks()))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(real_data(ESH4))],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1", "1344000"] * 2


def test_importing_sources_does_not_import_databento() -> None:
    """Neither databento nor its decoder is loaded until metadata is asked for."""
    script = "import sys, ifd_fast.sources; print([m for m in sys.modules if 'databento' in m])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
