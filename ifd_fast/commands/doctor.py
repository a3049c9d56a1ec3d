"""`ifd doctor`: a verdict and a way out for everything a run depends on."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ifd_fast.checkup import Check

__all__ = ["doctor"]

_STYLES: Final = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


@click.command()
@click.option("--profile", metavar="NAME|PATH", help="Packaged profile or file.")
@click.option("--offline", is_flag=True, help="Ask nobody: neither the time nor Databento.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(*, profile: str | None, offline: bool, as_json: bool) -> None:
    """Check machine, settings, data, and what the Databento key may do.

    Nothing it asks costs anything, and the key is never shown. Exit codes: 0 nothing failed, 1 a
    check failed, 5 only the key, its licences or the account did.
    """
    from ifd_fast.checkup import examine, exit_code_of
    from ifd_fast.logs import set_up_logging

    set_up_logging("error")  # the settings, and their log level with them, may be what is broken
    checks = examine(profile, offline=offline)
    if as_json:
        click.echo(json.dumps(_document(checks), indent=2))
    else:
        _print(checks)
    sys.exit(exit_code_of(checks))


def _document(checks: Sequence[Check]) -> dict[str, object]:
    from ifd_fast.checkup import verdict_of

    rows = [
        {"name": c.name, "verdict": c.verdict, "found": c.found, "way_out": c.way_out}
        for c in checks
    ]
    return {"verdict": verdict_of(checks), "checks": rows}


def _print(checks: Sequence[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ifd_fast.checkup import verdict_of

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=120, highlight=False)
    table = Table(show_edge=False)
    for name in ("check", "verdict", "found, and the way out"):
        table.add_column(name, no_wrap=name != "found, and the way out")
    for one in checks:
        verdict = Text(one.verdict, _STYLES[one.verdict])
        table.add_row(Text(one.name), verdict, Text(f"{one.found}\n{one.way_out}".strip()))
    console.print(table)
    console.print(f"verdict: {verdict_of(checks)}")
