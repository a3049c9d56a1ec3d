"""What commands share: the settings in force, logging by them, and a bar for what takes long."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ifd_fast.config import Settings
    from ifd_fast.replaying import Progress

__all__ = ["progress_bar", "stage_bar", "start"]


def start(profile: str | None = None, overrides: Mapping[str, object] | None = None) -> Settings:
    """Return the settings in force; logging has their level and format from here on."""
    from ifd_fast.config import load_settings
    from ifd_fast.logs import get_logger, set_up_logging

    settings = load_settings(profile, overrides)
    set_up_logging(settings.profile.log_level, settings.profile.log_format)
    get_logger("ifd").debug("settings in force", profile=settings.name, digest=settings.digest)
    return settings


@contextmanager
def progress_bar(title: str, *, quiet: bool) -> Iterator[Progress | None]:
    """Show bytes read and records applied on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[events]:>13,} events"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, events=0)

        def show(bytes_read: int, bytes_total: int, records: int) -> None:
            bar.update(task, completed=bytes_read, total=bytes_total, events=records)

        yield show


@contextmanager
def stage_bar(
    titles: Mapping[str, str], *, quiet: bool
) -> Iterator[Callable[[str, int, int], object]]:
    """Show tasks done of each stage, by its title, on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda *_: None
        return
    columns = (
        TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Bar(*columns, console=console, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(titles[stage], total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield show
