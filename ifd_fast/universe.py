"""Which instruments are watched: a future, and all options that have it as their underlying.

The list of parents is what to subscribe to and to download; what belongs is decided by each
definition, because the exchange adds products (a fifth Friday, a new weekday) without asking.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from ifd_fast.definitions import Definition, Leg
from ifd_fast.errors import ConfigError
from ifd_fast.profiles import nearest
from ifd_fast.symbols import parse_futures_symbol, parse_option_symbol
from ifd_kernels.layout import KIND_CALL, KIND_FUTURE, KIND_PUT, KIND_SPREAD

__all__ = ["Universe", "load_universe", "packaged_universes"]

_FILE_BYTES_MAX: Final = 1 << 20
_ROOT: Final = re.compile(r"[A-Z0-9]{1,6}")
_PARENT: Final = re.compile(r"([A-Z0-9]{1,6})\.(FUT|OPT)")


class Universe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A future's root, and the parent symbols that bring it and its options."""

    root: str  # NQ: futures NQH4, NQM4 and so on
    parents: tuple[str, ...]  # such as NQ.FUT, Q2A.OPT
    title: str = ""
    dataset: str = "GLBX.MDP3"

    @property
    def products(self) -> frozenset[str]:
        """The exchange's products of the option parents, such as NQ, QNE, Q2A."""
        return frozenset(one[:-4] for one in self.parents if one.endswith(".OPT"))

    def belongs(self, definition: Definition) -> bool:
        """Return whether a definition is of this universe, from what it says itself.

        A future by its root; an option by its underlying, whatever its product; a spread by its
        product or by one of its legs. See `members` for what other definitions add to it.
        """
        kind = definition.kind
        if kind == KIND_FUTURE:
            return self._is_future(definition.raw_symbol)
        if kind in {KIND_CALL, KIND_PUT}:
            if definition.underlying:
                return self._is_future(definition.underlying)
            return definition.asset in self.products
        if kind != KIND_SPREAD:
            return False
        known = definition.asset == self.root or definition.asset in self.products
        return known or any(self._is_leg(leg) for leg in definition.legs)

    def members(self, definitions: Iterable[Definition]) -> list[Definition]:
        """Return the definitions that belong, in their order, judging spreads by all the others.

        A spread belongs also if its product is one that an option of the universe has, or if the
        id of one of its legs is a member's.
        """
        given = list(definitions)
        direct = [one for one in given if self.belongs(one)]
        ids = {one.instrument_id for one in direct if one.kind != KIND_SPREAD}
        found = {one.asset for one in direct if one.kind in {KIND_CALL, KIND_PUT}}

        def is_member(one: Definition) -> bool:
            if one.kind != KIND_SPREAD:
                return self.belongs(one)
            by_leg = any(leg.instrument_id in ids for leg in one.legs)
            return by_leg or one.asset in found or self.belongs(one)

        return [one for one in given if is_member(one)]

    def _is_future(self, symbol: str) -> bool:
        future = parse_futures_symbol(symbol)
        return future is not None and future.root == self.root

    def _is_leg(self, leg: Leg) -> bool:
        option = parse_option_symbol(leg.symbol)
        return self._is_future(leg.symbol) or (
            option is not None and option.series in self.products
        )


def packaged_universes() -> list[str]:
    """Return the names of the universes that come with the package."""
    folder = resources.files("ifd_fast") / "universes"
    names = (file.name for file in folder.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def load_universe(name_or_path: str | Path) -> Universe:
    """Read a packaged universe by name, or a file by its path (it ends in .toml).

    Raises
    ------
    ConfigError
        No such name or file, or something in it is unknown, missing or of a wrong form.
    """
    name = str(name_or_path)
    if not name.endswith(".toml"):
        names = packaged_universes()
        if name not in names:
            raise ConfigError(
                f"`universe` must be a packaged name or a path that ends in .toml, was {name!r}. "
                f"{nearest(name, names)}"
            )
        text = (resources.files("ifd_fast") / "universes" / f"{name}.toml").read_bytes()
        return _decode(text, name)
    try:
        with Path(name).open("rb") as file:
            text = file.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise ConfigError(
            f"{name}: the universe can't be read ({error.strerror}). Check path and mode."
        ) from error
    return _decode(text, name)


def _decode(text: bytes, name: str) -> Universe:
    try:
        universe = msgspec.toml.decode(text, type=Universe)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{name}: {error}. A universe has `root`, `parents`, `title`, `dataset`."
        ) from error
    if not _ROOT.fullmatch(universe.root):
        raise ConfigError(
            f"{name}: `root` must be a futures root such as 'NQ', was {universe.root!r}."
        )
    for parent in universe.parents:
        if not _PARENT.fullmatch(parent):
            raise ConfigError(
                f"{name}: a parent must be a product with .FUT or .OPT such as 'Q2A.OPT', "
                f"was {parent!r}."
            )
    twice = {one for one in universe.parents if universe.parents.count(one) > 1}
    if twice:
        raise ConfigError(f"{name}: parents must differ, {min(twice)!r} is there twice. Drop one.")
    if f"{universe.root}.FUT" not in universe.parents:
        raise ConfigError(
            f"{name}: `parents` must hold the future of `root`, {universe.root}.FUT, or no option "
            "has an underlying. Add it."
        )
    return universe
