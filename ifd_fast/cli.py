"""The `ifd` command: finds a subcommand by name and imports only that one.

`ifd --help` must not pay for numba, polars or duckdb, so each command lives in a module of
`ifd_fast.commands` that is imported when the command runs; its one-line help stands here.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

import click

from ifd_fast import __version__
from ifd_fast.errors import IfdError

__all__ = ["LazyGroup", "group", "main"]

# name -> (module:attribute, one line of help)
COMMANDS: Final = {
    "baseline": ("ifd_fast.commands.baseline:baseline", "Build, show and prune the history."),
    "config": ("ifd_fast.commands.config:config", "Show and check the settings in force."),
    "cost": ("ifd_fast.commands.cost:cost", "What Databento was paid, and what could be saved."),
    "demo": ("ifd_fast.commands.demo:demo", "Simulate, replay, find: in about a minute."),
    "diff": ("ifd_fast.commands.diff:diff", "What two runs found differently, and why."),
    "doctor": ("ifd_fast.commands.doctor:doctor", "Check machine, settings, data and key."),
    "evaluate": ("ifd_fast.commands.evaluate:evaluate", "Signals against planted truth."),
    "explain": ("ifd_fast.commands.explain:explain", "Rebuild a signal from the record."),
    "fetch": ("ifd_fast.commands.fetch:fetch", "Days of history from Databento, priced first."),
    "gateway": ("ifd_fast.commands.gateway:gateway", "Serve a market over the live protocol."),
    "live": ("ifd_fast.commands.live:live", "Run a live session: record, windows, signals."),
    "query": ("ifd_fast.commands.query:query", "SQL over what a run found."),
    "repair": ("ifd_fast.commands.repair:repair", "Fill a live session's gaps from history."),
    "replay": ("ifd_fast.commands.replay:replay", "DBN files to windows and signals."),
    "rescore": ("ifd_fast.commands.rescore:rescore", "Months of recordings to signals, again."),
    "review": ("ifd_fast.commands.review:review", "A month or quarter: figures, proposals."),
    "simulate": ("ifd_fast.commands.simulate:simulate", "Write a synthetic market as DBN files."),
    "sweep": ("ifd_fast.commands.sweep:sweep", "Try thresholds on a re-scoring."),
    "verify": ("ifd_fast.commands.verify:verify", "Check what runs promise."),
    "warm-up": ("ifd_fast.commands.warm_up:warm_up", "Compile all kernels into the cache."),
}


class LazyGroup(click.Group):
    """A group whose subcommands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]} must be a click command, was {command!r}")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the one-line helps without importing the commands."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ifd")
def group() -> None:
    """Detect institutional flow in options on CME futures, from MBO bytes to signals."""


def main() -> None:
    """Run the command line; an IfdError becomes one clear line and its exit code."""
    try:
        group.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("Aborted.", err=True)
        sys.exit(1)
    except IfdError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
