"""The documentation's pages of fields and settings list what exists, no more and no less."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from ifd_fast.handovers import HANDOVERS_SCHEMA
from ifd_fast.metrics import PressureMetrics
from ifd_fast.profiles import KEYS, Profile
from ifd_fast.replaying import replay
from ifd_fast.rows import FACTS_SCHEMA, WINDOW_SCHEMA
from ifd_fast.signals import InstitutionalSignalV3
from tests.conftest import ROOT
from tests.strategies_interface import market, store

# Objects of session.json whose names depend on what was read, or stand in docs/settings.md.
OPEN_ENDED = {"settings", "baselines", "ranking", "skipped", "handed_by_type", "book"}


def rows_of(page: str, section: str = "") -> list[list[str]]:
    """Return the cells of the rows whose first one is a name in backquotes."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    if section:
        text = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names_of(page: str, section: str = "") -> list[str]:
    """Return the names a page or a section of it has."""
    return [row[0].strip("`") for row in rows_of(page, section)]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("PressureMetrics", [one.name for one in dataclasses.fields(PressureMetrics)]),
        ("Window rows", WINDOW_SCHEMA.names()),
        ("Facts", [name for name in FACTS_SCHEMA if name not in WINDOW_SCHEMA]),
        ("Hand-overs", HANDOVERS_SCHEMA.names()),
        ("InstitutionalSignalV3", [one.name for one in dataclasses.fields(InstitutionalSignalV3)]),
    ],
)
def test_every_field_in_order(section: str, expected: list[str]) -> None:
    """A table has the fields of its record, in their order."""
    assert names_of("fields.md", section) == expected


def test_types_are_those_of_the_code() -> None:
    """Types of records and columns are those that the code declares."""
    by_section: dict[str, dict[str, str]] = {
        "Window rows": {name: str(kind) for name, kind in WINDOW_SCHEMA.items()},
        "Facts": {name: str(kind) for name, kind in FACTS_SCHEMA.items()},
        "Hand-overs": {name: str(kind) for name, kind in HANDOVERS_SCHEMA.items()},
        "PressureMetrics": plain_types(PressureMetrics),
        "InstitutionalSignalV3": plain_types(InstitutionalSignalV3),
    }
    for section, types in by_section.items():
        for name, kind, *_ in rows_of("fields.md", section):
            declared = types[name.strip("`")]
            if declared.startswith("Datetime"):
                declared = "Datetime ns"
            assert kind == declared, name


def plain_types(record: Any) -> dict[str, str]:
    """Return each field's type as the page has it: no module, no None."""
    types = {one.name: str(one.type) for one in dataclasses.fields(record)}
    return {
        name: re.sub(r"dt\.| \| None", "", kind) if not kind.startswith("Literal") else "str"
        for name, kind in types.items()
    }


def flat(value: Any, name: str = "") -> list[str]:
    """Return the full names of a document's values, in order."""
    if isinstance(value, dict) and name.rpartition(".")[2] not in OPEN_ENDED:
        dot = "." if name else ""
        return [one for key, inner in value.items() for one in flat(inner, f"{name}{dot}{key}")]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return flat(value[0], f"{name}[]")
    return [name]


def test_every_name_of_session_json(tmp_path: Path) -> None:
    """A replay's document has the names of the page, in their order."""
    path = tmp_path / "market.dbn"
    path.write_bytes(market())
    document = replay(path, baselines=store()).document
    assert names_of("fields.md", "session.json") == flat(document)
    assert list(document["baselines"]) == ["2026-02-02"]


def test_every_setting_with_its_default_and_bounds() -> None:
    """The table has every key, in the profile's order, with what the code says of it."""
    rows = rows_of("settings.md")
    assert names_of("settings.md") == [key.label for key in KEYS.values()]
    for (_, default, bounds, *_), (name, key) in zip(rows, KEYS.items(), strict=True):
        assert default == f"`{getattr(Profile(), name)}`"
        if key.kind is not str:
            assert bounds == f"`{key.kind(key.low)}` to `{key.kind(key.high)}`"
        else:
            assert bounds == (", ".join(key.choices) or "text")
    assert {row[5] for row in rows} == {"no", "higher", "lower", "fewer hours"}
