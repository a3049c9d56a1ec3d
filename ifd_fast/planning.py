"""What is planted in a simulated session: metaorders, and hard negatives that look like them."""

from __future__ import annotations

import datetime as dt
import math
import random

from ifd_fast.errors import ConfigError
from ifd_fast.negatives import add_negatives, check_weights
from ifd_fast.planner import SIDES, Planner, SessionPlan, session_of
from ifd_fast.seeding import mix_seed
from ifd_fast.truth import STYLES, TIERS
from ifd_fast.world import Labels, World

__all__ = ["plan_session"]


def _combination(labels: Labels, number: int) -> tuple[str, int, str, float, float, str]:
    """Return the `number`-th of all combinations in a fixed order that mixes them evenly."""
    sizes = (len(TIERS), 2, 2, len(labels.durations_s), len(labels.k), len(labels.styles))
    count = math.prod(sizes)
    order = random.Random(count).sample(range(count), count)  # noqa: S311  # the same always
    place = order[number % count]
    parts = []
    for size in sizes:
        place, part = divmod(place, size)
        parts.append(part)
    tier, side, kind, duration, k, style = parts
    return (
        TIERS[tier],
        SIDES[side],
        "CP"[kind],
        labels.durations_s[duration],
        labels.k[k],
        labels.styles[style],
    )


def plan_session(
    world: World, seed: int, trade_date: dt.date, plants: int = 6, negatives: int = 20
) -> SessionPlan:
    """Return what is planted on `trade_date`: the same for the same world, seed and day.

    Tiers, sides, types, durations, k and styles run through all their combinations as sessions
    follow each other. With 0 and 0 the session is a null one.
    """
    session = session_of(trade_date)
    if not plants and not negatives:
        return SessionPlan(mix_seed(seed, trade_date), (), (), ())
    if world.labels is not None:
        check_weights(world.labels.negatives, negatives)
        if not set(world.labels.styles) <= set(STYLES):
            raise ConfigError(f"`labels.styles` must be of {STYLES}, were {world.labels.styles}.")
    planner = Planner(world, seed, session)
    first = (seed * 9_973 + session.number) * plants
    for number in range(plants):
        planner.plant(*_combination(planner.labels, first + number))
    add_negatives(planner, negatives)
    children = sorted(planner.children)
    return SessionPlan(
        planner.seed,
        tuple(planner.episodes),
        tuple(children),
        tuple(sorted(planner.turns)),
        planner.flow,
    )
