"""`ifd warm-up`: compile all kernels into the cache and say where it is."""

from __future__ import annotations

import click

from ifd_fast.commands.startup import start

__all__ = ["warm_up"]


@click.command("warm-up")
def warm_up() -> None:
    """Compile all kernels into the cache; the next start loads them instead."""
    from ifd_fast import warming

    start()
    done = warming.warm_up(apart=True)
    click.echo(f"{done.kernels} kernels ready in {done.seconds:.1f} s, {done.compiled} compiled")
    click.echo(f"cache: {done.folder or 'none; set NUMBA_CACHE_DIR'}")
