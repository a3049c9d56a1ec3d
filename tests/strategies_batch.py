"""What a batch job delivers, as bytes by name: a day's file each, conditions, a manifest."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import zstandard

from ifd_fast.dbnwriter import encode_header

__all__ = ["DAY_NS", "Content", "batch_files", "day_file", "entry_of", "write_batch"]

Content: TypeAlias = Callable[[str, dt.date], bytes | None]
DAY_NS = 86_400_000_000_000


def day_file(schema: str, day: dt.date, padding: int = 0) -> bytes:
    """Return a compressed DBN file of one day, without a record; `padding` makes it longer."""
    start_ns = (day - dt.date(1970, 1, 1)).days * DAY_NS
    data = zstandard.compress(encode_header(schema, [], start_ns, start_ns + DAY_NS, day))
    skipped = b"\x50\x2a\x4d\x18" + padding.to_bytes(4, "little") + bytes(padding)
    return data + skipped if padding else data


def entry_of(name: str, data: bytes) -> dict[str, object]:
    """Return what a manifest says of a file."""
    return {
        "filename": name,
        "size": len(data),
        "hash": f"sha256:{hashlib.sha256(data).hexdigest()}",
        "urls": {"https": "", "ftp": ""},
    }


def batch_files(
    job_id: str,
    schema: str,
    days: list[dt.date],
    condition: str = "available",
    padding: int = 0,
    content: Content | None = None,
) -> dict[str, bytes]:
    """Return the files of a job, its manifest among them; `content` gives days' files, or none."""
    said = [{"date": str(day), "condition": condition, "last_modified_date": None} for day in days]
    files = {
        "metadata.json": json.dumps({"version": 1, "job_id": job_id}).encode(),
        "condition.json": json.dumps(said).encode(),
        "symbology.json": b"{}",
    }
    for day in days:
        data = content(schema, day) if content else day_file(schema, day, padding)
        if data is not None:
            files[f"glbx-mdp3-{day:%Y%m%d}.{schema}.dbn.zst"] = data
    listed = [entry_of(name, data) for name, data in files.items()]
    files["manifest.json"] = json.dumps({"job_id": job_id, "files": listed}).encode()
    return files


def write_batch(
    folder: Path, schema: str, days: list[dt.date], condition: str = "available"
) -> Path:
    """Write a job's files to a new folder; return it."""
    folder.mkdir(parents=True)
    for name, data in batch_files(folder.name, schema, days, condition).items():
        (folder / name).write_bytes(data)
    return folder
