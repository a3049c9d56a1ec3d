"""Records of real files, raw and as databento's own decoder sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import databento_dbn
import zstandard

__all__ = ["decode_all", "read_bytes", "read_records"]


def read_bytes(path: Path) -> bytes:
    """Return a whole `.dbn.zst` file decompressed, all of its frames."""
    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        return reader.read()


def read_records(path: Path, rtype: int) -> tuple[int, list[bytes]]:
    """Return the version of a file and its records of one type."""
    data = read_bytes(path)
    position, records = 8 + int.from_bytes(data[4:8], "little"), []
    while position < len(data):
        end = position + 4 * data[position]
        if data[position + 1] == rtype:
            records.append(data[position:end])
        position = end
    return data[3], records


def decode_all(path: Path) -> list[Any]:
    """Return all records of a file as databento decodes them, in the file's own version."""
    policy: Any = databento_dbn.VersionUpgradePolicy.AS_IS
    decoder = databento_dbn.DBNDecoder(upgrade_policy=policy)
    decoder.write(read_bytes(path))
    return list(decoder.decode())[1:]
