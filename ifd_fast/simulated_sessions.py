"""One simulated session in memory: the bytes of its files, and the truth about them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from ifd_fast.dbnwriter import encode_definitions, encode_header
from ifd_fast.errors import UsageError
from ifd_fast.mirrors import MIRRORS, mirror_sides, mirror_truth, swap_types
from ifd_fast.optionchain import Listing
from ifd_fast.planner import session_of
from ifd_fast.planning import plan_session
from ifd_fast.simulated_truth import build_truth
from ifd_fast.simulation import PREOPEN_NS, Simulation
from ifd_fast.truth import Truth
from ifd_fast.world import World

__all__ = ["SimulatedSession"]


class SimulatedSession:
    """A session of `world`, planned and simulated; the same arguments give the same bytes.

    `definition_bytes` and `mbo_chunks` are what `ifd simulate` writes into its files, header
    first; `truth` is complete once `mbo_chunks` is exhausted. With `plants` and `negatives` 0 it
    is a null session. `mirror`: "sides", every option's and spread's record with buyers for
    sellers and K - price for price; "types", every call defined as its put and vice versa.

    >>> session = SimulatedSession(load_world("evaluation"), 1, dt.date(2026, 3, 10))
    >>> engine.feed(session.definition_bytes())
    >>> for chunk in session.mbo_chunks():
    ...     engine.feed(chunk)
    >>> session.truth().episodes
    """

    def __init__(
        self,
        world: World,
        seed: int,
        trade_date: dt.date,
        *,
        plants: int = 6,
        negatives: int = 20,
        mirror: str | None = None,
    ) -> None:
        if mirror is not None and mirror not in MIRRORS:
            raise UsageError(f"`mirror` must be one of {MIRRORS} or None, was {mirror!r}.")
        self.world, self.seed, self.trade_date, self.mirror = world, seed, trade_date, mirror
        self.plan = plan_session(world, seed, trade_date, plants, negatives)
        self.simulation = Simulation(world, seed, session_of(trade_date), plan=self.plan)
        chain = self.simulation.chain
        self.chain: list[Listing] = swap_types(chain) if mirror == "types" else chain
        self.start_ns = self.simulation.start_ns - PREOPEN_NS
        self.end_ns = self.simulation.end_ns

    def definition_bytes(self) -> bytes:
        """Return the bytes of the definition file: header and records."""
        return self._header("definition") + encode_definitions(self.chain, self.start_ns)

    def mbo_chunks(self) -> Iterator[bytes]:
        """Give the bytes of the MBO file, its header first; can be done once."""
        yield self._header("mbo", self.simulation.records or None)
        future_id = self.chain[0].instrument_id
        for chunk in self.simulation:
            if len(chunk):
                mirrored = self.mirror == "sides"
                yield (mirror_sides(chunk, future_id) if mirrored else chunk).tobytes()

    def truth(self) -> Truth:
        """Return what was planted and what became of it, and what nobody can know beforehand."""
        found = build_truth(self.simulation, self.chain)
        return mirror_truth(found) if self.mirror == "sides" else found

    def _header(self, schema: str, limit: int | None = None) -> bytes:
        return encode_header(schema, self.chain, self.start_ns, self.end_ns, self.trade_date, limit)
