"""Other worlds made of one: drawn at random from its stated ranges, or stressed in one way."""

from __future__ import annotations

import random
from typing import Any, Final

import msgspec

from ifd_fast.errors import ConfigError
from ifd_fast.world import World

__all__ = ["STRESSES", "draw_world", "scale_activity", "stress_world"]

STRESSES: Final = (
    "activity_quarter",
    "activity_4",
    "strikes_120",
    "strikes_3000",
    "half_day",
    "side_n_0",
    "side_n_30",
    "side_n_100",
)
HALF_DAY_S: Final = 69_300.0  # 12:15 in Chicago, as on the days before holidays


def scale_activity(world: World, factor: float) -> World:
    """Return `world` with all its options trading `factor` times as often."""
    tiers = tuple(
        msgspec.structs.replace(
            tier,
            trades_hour_low=tier.trades_hour_low * factor,
            trades_hour_high=tier.trades_hour_high * factor,
        )
        for tier in world.flow.tiers
    )
    return msgspec.structs.replace(world, flow=msgspec.structs.replace(world.flow, tiers=tiers))


def _set(sections: dict[str, Any], name: str, value: float) -> None:
    """Change the parameter of that dotted name, which must be a number already."""
    *path, last = name.split(".")
    inner: Any = sections
    for part in path:
        inner = inner.get(part) if isinstance(inner, dict) else None
    held = inner.get(last) if isinstance(inner, dict) else None
    if isinstance(held, bool) or not isinstance(held, int | float):
        raise ConfigError(f"`ranges` names {name!r}, which is no number of a world.")
    inner[last] = round(value) if isinstance(held, int) else value


def draw_world(world: World, seed: int) -> World:
    """Return a world drawn from the `ranges` of `world`, uniformly each; its name says the seed.

    A range's name is a parameter's, with its sections before it; `activity` scales all tiers.
    """
    if not world.ranges:
        raise ConfigError(f"`ranges` are missing in world {world.name!r}: nothing can be drawn.")
    draw = random.Random(f"{world.digest()} {seed}")  # noqa: S311  # a seed, not a secret
    sections = msgspec.to_builtins(world)
    sections["name"] = f"{world.name}-{seed}"
    activity = 1.0
    for name, (low, high) in sorted(world.ranges.items()):
        if low > high:
            raise ConfigError(f"`ranges` of {name!r} must rise, was {low} to {high}.")
        value = draw.uniform(low, high)
        if name == "activity":
            activity = value
        else:
            _set(sections, name, value)
    try:
        drawn = msgspec.convert(sections, World)
    except msgspec.ValidationError as error:
        raise ConfigError(f"`ranges` of world {world.name!r} leave its bounds: {error}.") from error
    return scale_activity(drawn, activity)


def stress_world(world: World, stress: str) -> World:
    """Return `world` changed in one of the ways of STRESSES.

    Activity is changed against what is usual: the strikes' rates and k stay those of `world`.
    """
    replace = msgspec.structs.replace
    if stress not in STRESSES:
        raise ConfigError(f"`stress` must be one of {', '.join(STRESSES)}, was {stress!r}.")
    kind, _, amount = stress.rpartition("_")
    if kind == "strikes":
        strikes = max(1, int(amount) // len(world.chain.expiries))
        step = world.chain.strike_step * world.chain.strikes / strikes
        changed = replace(world, chain=replace(world.chain, strikes=strikes, strike_step=step))
    elif kind == "side_n":
        odd = replace(world.irregular, implied=int(amount) / 100.0)
        changed = replace(world, irregular=odd)
    elif world.arrivals is None:
        raise ConfigError(f"`arrivals` are missing in world {world.name!r}: no day to change.")
    elif kind == "activity":
        level = 0.25 if amount == "quarter" else float(amount)
        changed = replace(world, arrivals=replace(world.arrivals, level=level))
    else:
        changed = replace(world, arrivals=replace(world.arrivals, session_s=HALF_DAY_S))
    return replace(changed, name=f"{world.name}-{stress}")
