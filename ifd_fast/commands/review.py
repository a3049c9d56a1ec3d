"""`ifd review`: a month or a quarter of a run as a page of figures and proposals."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ifd_fast.commands.startup import start
from ifd_fast.errors import UsageError

__all__ = ["review"]


@click.command()
@click.option("--run", "folder", type=click.Path(path_type=Path), required=True)
@click.option("--month", help="Such as 2025-06.")
@click.option("--quarter", help="Such as 2025-Q2.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
def review(folder: Path, month: str | None, quarter: str | None, out: Path) -> None:
    """Write a page of figures and proposals, and the figures as JSON beside it.

    No profile is changed.
    """
    from ifd_fast.reviewing import render_review, review_run
    from ifd_fast.runs import open_run

    start()
    if month and quarter:
        raise UsageError("Give --month or --quarter, not both.")
    if out.suffix != ".html":
        raise UsageError(f"--out {out}: the page's name ends with .html; JSON is put beside it.")
    found = review_run(open_run(folder), month or quarter)
    out.write_text(render_review(found), encoding="utf-8")
    out.with_suffix(".json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for text in found["proposals"]:
        click.echo(text)
    click.echo(f"{out}: {found['sessions']} sessions, {found['candidates']:,} candidates")
