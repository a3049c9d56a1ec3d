"""`ifd config show` and `ifd config check`: which settings are in force, which files are sound."""

from __future__ import annotations

import json

import click

from ifd_fast.config import (
    Settings,
    check_file,
    find_key,
    load_settings,
    packaged_profiles,
    parse_text,
    to_toml,
)
from ifd_fast.errors import ConfigError
from ifd_fast.profiles import KEYS

__all__ = ["check", "config", "show"]


@click.group()
def config() -> None:
    """Show and check the settings: profile file < environment < flag."""


@config.command()
@click.option("--profile", metavar="NAME|PATH", help="Packaged profile or file.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="As if given by a flag.")
@click.option("--origin", is_flag=True, help="Say beside each value where it came from.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of TOML.")
def show(*, profile: str | None, pairs: tuple[str, ...], origin: bool, as_json: bool) -> None:
    """Print the settings in force; the output is a profile file that gives the same again."""
    settings = load_settings(profile, dict(_parse_pair(pair) for pair in pairs))
    if as_json:
        click.echo(json.dumps(_json_tree(settings, origin=origin), indent=2))
        return
    click.echo(f"# profile {settings.name}")
    click.echo(f"# digest {settings.digest}")
    click.echo(f"# rules digest {settings.profile.rules_digest}\n")
    click.echo(to_toml(settings, origin=origin), nl=False)


@config.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def check(files: tuple[str, ...]) -> None:
    """List every problem of profile files; exit code 2 if there is one."""
    count = 0
    for file in files:
        # a bare name is a file here unless it is a packaged profile's
        problems = check_file(file if file in packaged_profiles() else _as_path(file))
        for problem in problems:
            click.echo(str(problem), err=True)
        if not problems:
            click.echo(f"{file}: sound")
        count += len(problems)
    if count:
        noun = "problem" if count == 1 else "problems"
        raise ConfigError(f"{count} {noun} in {len(files)} file(s), see above")


def _as_path(file: str) -> str:
    return file if file.endswith(".toml") or "/" in file else f"./{file}"


def _parse_pair(pair: str) -> tuple[str, object]:
    name, equals, text = pair.partition("=")
    if not equals:
        raise ConfigError(f"--set must be KEY=VALUE as in window_s=60, was {pair!r}")
    key = find_key(name.strip(), "--set")
    return key.name, parse_text(key, text.strip())


def _json_tree(settings: Settings, *, origin: bool) -> dict[str, object]:
    tree: dict[str, object] = {
        "profile": settings.name,
        "digest": settings.digest,
        "rules_digest": settings.profile.rules_digest,
        "settings": settings.profile.tree(),
    }
    if origin:
        tree["origins"] = {KEYS[name].label: str(where) for name, where in settings.origins.items()}
    return tree
