"""Profile files: read with their bases into layers of checked values, every problem collected."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final, NamedTuple

from ifd_fast.profiles import KEYS, SECTIONS, Profile, Value, nearest

__all__ = ["Layer", "Origin", "Problem", "packaged_profiles", "put_value", "read_profile"]

_BASES_MAX: Final = 8
_FILE_BYTES_MAX: Final = 1 << 20
_SECTION_LINE: Final = re.compile(r"\s*\[\s*([\w-]+)\s*\]")
_KEY_LINE: Final = re.compile(r"\s*([\w.-]+)\s*=")


class Origin(NamedTuple):
    """Where a value came from: `kind` is default, packaged, file, environment or flag."""

    kind: str
    where: str

    def __str__(self) -> str:
        return f"{self.kind} {self.where}".rstrip()


class Problem(NamedTuple):
    """One thing that is wrong, and where: `file:line`, a variable or a flag."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


class Layer(NamedTuple):
    """What one source says, by attribute name."""

    values: dict[str, Value]
    origins: dict[str, Origin]

    def put(self, name: str, value: Value, origin: Origin) -> None:
        """Set one value and its origin."""
        self.values[name] = value
        self.origins[name] = origin


def packaged_profiles() -> list[str]:
    """Return the names of the profiles that come with the package."""
    folder = resources.files("ifd_fast") / "settings"
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def read_profile(name: str, problems: list[Problem]) -> list[Layer]:
    """Return the layers of a profile and its bases, the lowest first."""
    defaults = Layer({}, {})
    for key_name, field in zip(Profile.__struct_fields__, Profile.__struct_defaults__, strict=True):
        defaults.put(key_name, field, Origin("default", ""))
    layers: list[Layer] = []
    seen: list[str] = []
    folder, asked_by = Path(), "--profile"
    next_name: str | None = name
    while next_name is not None:
        kind, path = _locate(next_name, folder)
        if str(path) in seen or len(seen) == _BASES_MAX:
            chain = " -> ".join([*seen, str(path)])
            problems.append(Problem(asked_by, f"`base` must end in at most 8 steps, was {chain}."))
            break
        seen.append(str(path))
        text = _read_text(kind, path, asked_by, problems)
        if text is None:
            break
        shown = path.name if kind == "packaged" else str(path)
        layer, next_name = _read_tree(kind, shown, text, problems)
        layers.append(layer)
        folder, asked_by = path.parent, f"{shown}:base"
    return [defaults, *reversed(layers)]


def _locate(name: str, folder: Path) -> tuple[str, Path]:
    """Return whether a profile is packaged or a file, and its path."""
    if name.endswith(".toml") or os.sep in name:
        return "file", folder / name
    return "packaged", Path(f"{name}.toml")


def _read_text(kind: str, path: Path, asked_by: str, problems: list[Problem]) -> str | None:
    if kind == "packaged" and path.stem not in packaged_profiles():
        way_out = f"{nearest(path.stem, packaged_profiles())} A file's path ends in .toml."
        problems.append(Problem(asked_by, f"there is no profile `{path.stem}`. {way_out}"))
        return None
    try:
        if kind == "packaged":
            return (resources.files("ifd_fast") / "settings" / path.name).read_text("utf-8")
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
        if len(content) <= _FILE_BYTES_MAX:
            return content.decode("utf-8")
        problems.append(Problem(str(path), "must be a profile of at most 1 MiB."))
    except UnicodeDecodeError as error:
        problems.append(Problem(str(path), f"must be UTF-8 text, byte {error.start} is not."))
    except OSError as error:
        problems.append(Problem(str(path), f"can't be read: {error.strerror}."))
    return None


def _read_tree(
    kind: str, shown: str, text: str, problems: list[Problem]
) -> tuple[Layer, str | None]:
    """Return what a file says, and the name of its base."""
    layer = Layer({}, {})
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        problems.append(Problem(shown, f"must be TOML: {error}."))
        return layer, None
    lines = _line_numbers(text)
    base = tree.pop("base", None)
    if base is not None and (not isinstance(base, str) or not base.isprintable() or not base):
        problems.append(Problem(shown, "`base` must be a profile's name or path."))
        base = None
    for section, keys in tree.items():
        if section not in SECTIONS or not isinstance(keys, dict):
            where = _place(shown, lines, section)
            problems.append(Problem(where, _misplaced(section, keys)))
            continue
        for key_name, value in keys.items():
            where = _place(shown, lines, f"{section}.{key_name}")
            put_value(layer, section, key_name, value, Origin(kind, where), problems)
    return layer, base


def _misplaced(name: str, value: object) -> str:
    """Say what is wrong with a name at the top of a file."""
    if name in SECTIONS:
        return f"`{name}` must be a section: write [{name}] and its keys below."
    homes = [key.section for key in KEYS.values() if key.key == name]
    if homes and not isinstance(value, dict):
        return f"`{name}` stands outside its section. Write it below [{homes[0]}]."
    return f"`{name}` is no section. {nearest(name, SECTIONS)}"


def put_value(
    layer: Layer, section: str, key_name: str, value: Any, origin: Origin, problems: list[Problem]
) -> None:
    """Take one key of a section into a layer, or say why not."""
    by_key = {key.key: key for key in KEYS.values() if key.section == section}
    key = by_key.get(key_name)
    if key is None:
        homes = [other.section for other in KEYS.values() if other.key == key_name]
        way_out = f"It belongs in [{homes[0]}]." if homes else nearest(key_name, by_key)
        text = f"`{section}.{key_name}` is no setting. {way_out}"
        problems.append(Problem(origin.where, text))
    elif (text_or_none := key.problem_with(value)) is not None:
        problems.append(Problem(origin.where, text_or_none))
    else:
        layer.put(key.name, value, origin)


def _line_numbers(text: str) -> dict[str, int]:
    """Return full name -> line for what stands on a line of its own: a hint for messages."""
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _SECTION_LINE.match(line):
            section = header[1]
            lines.setdefault(section, number)
        elif key := _KEY_LINE.match(line):
            lines.setdefault(f"{section}.{key[1]}" if section else key[1], number)
    return lines


def _place(shown: str, lines: Mapping[str, int], name: str) -> str:
    return f"{shown}:{lines[name]}" if name in lines else shown
