"""A folder as a Databento batch job delivers it: data beside a manifest and days' conditions.

`manifest.json` lists name, size and SHA-256 of each file, `condition.json` what is known of each
day. Both are written by a stranger, so a manifest that names files elsewhere is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from ifd_fast.errors import DataError

__all__ = [
    "CONDITION",
    "MANIFEST",
    "SUPPORT",
    "ListedFile",
    "parse_conditions",
    "parse_listing",
    "read_conditions",
    "read_manifest",
]

MANIFEST: Final = "manifest.json"
CONDITION: Final = "condition.json"
SUPPORT: Final = frozenset({MANIFEST, CONDITION, "metadata.json", "symbology.json"})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,254}")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})")
_CONDITIONS: Final = frozenset({"available", "degraded", "pending", "missing", "intraday"})


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of a batch job: bytes, SHA-256 (64 hex digits), and where it is; '' if unsaid."""

    name: str
    size_bytes: int
    sha256: str
    url: str = ""


def parse_listing(tree: Any) -> list[ListedFile]:
    """Return the files that a manifest, or the API's list of a job's files, names.

    Raises
    ------
    DataError
        It is none, names a file twice or one outside its folder, or lacks a size or a SHA-256.
    """
    entries = tree.get("files") if isinstance(tree, dict) else tree
    if not isinstance(entries, list):
        raise DataError("lists no files")
    files = [_listed(one) for one in entries]
    names = [one.name for one in files]
    if len(set(names)) != len(names):
        raise DataError("lists a file twice")
    return files


def read_manifest(path: Path) -> list[ListedFile]:
    """Return the files that a folder's manifest lists.

    Raises
    ------
    DataError
        It can't be read, or isn't one.
    """
    try:
        return parse_listing(msgspec.json.decode(path.read_bytes()))
    except (OSError, msgspec.DecodeError, DataError) as error:
        raise DataError(
            f"{path}: is no manifest of a batch job ({error}). Nothing beside it is taken, since "
            "it can't be checked. Fetch it again."
        ) from None


def read_conditions(path: Path) -> dict[str, str]:
    """Return the condition of each day that a folder's `condition.json` names, by ISO date.

    Raises
    ------
    DataError
        It can't be read, or isn't one.
    """
    try:
        tree = msgspec.json.decode(path.read_bytes())
        return parse_conditions(tree)
    except (OSError, msgspec.DecodeError, DataError) as error:
        raise DataError(f"{path}: has no days' conditions ({error}). Fetch it again.") from None


def parse_conditions(tree: Any) -> dict[str, str]:
    """Return the condition of each day, by ISO date, of what the API or a file says.

    Raises
    ------
    DataError
        It is no list of days, or has a condition that isn't known.
    """
    if not isinstance(tree, list):
        raise DataError("is no list of days")
    found: dict[str, str] = {}
    for one in tree:
        if not isinstance(one, dict):
            raise DataError(f"a day must be an object, was {one!r}")
        day, condition = one.get("date"), one.get("condition")
        if not isinstance(day, str) or _DATE.fullmatch(day) is None:
            raise DataError(f"a date must be as in 2026-11-23, was {day!r}")
        if not isinstance(condition, str) or condition not in _CONDITIONS:
            raise DataError(f"the condition of {day} must be a known one, was {condition!r}")
        found[day] = condition
    return found


def _listed(entry: Any) -> ListedFile:
    if not isinstance(entry, dict):
        raise DataError(f"a file must be an object, was {entry!r}")
    name, size, text = entry.get("filename"), entry.get("size"), entry.get("hash")
    # no path may lead out of the folder, and no name may be one that a file under way has
    if not isinstance(name, str) or _NAME.fullmatch(name) is None or name.endswith(".part"):
        raise DataError(f"a file's name must be plain, was {name!r}")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise DataError(f"the size of {name} must be a number of bytes, was {size!r}")
    digest = _HASH.fullmatch(text) if isinstance(text, str) else None
    if digest is None:
        raise DataError(f"the hash of {name} must be `sha256:` and 64 hex digits, was {text!r}")
    urls = entry.get("urls")
    url = urls.get("https") if isinstance(urls, dict) else None
    return ListedFile(name, size, digest[1], url if isinstance(url, str) else "")
