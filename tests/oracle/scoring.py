"""The scoring instant in plain Python: each slot that changed, each side, from all flow so far."""

from __future__ import annotations

from typing import Any

from tests.oracle import evidence, verdict
from tests.oracle.votes import (
    SECOND_NS,
    WINDOWS_S,
    changed,
    paired_votes,
    persistence,
    volumes,
    votes,
)  # fmt: skip

COVERS = [
    "refresh_family",
    "score_instant",
    "mids.falls_while_sold",
    "mids.mark_mids",
    "mids.middle",
]

CAPS = [1, 10]
NAMES = ["votes_1", "votes_10"]


class Scorer:
    """One session's scorer.

    `slots`: dicts of instrument_id, kind (1 call, 2 put, other: not scored), mapped, retired,
    twin (or None), marks. `expected`: dicts of EXPECTED's fields.
    """

    def __init__(
        self, slots: Any, expected: Any, season: list[float], open_ns: int, profile: Any
    ) -> None:
        """Begin a session in which nothing has happened."""
        self.slots, self.expected, self.profile = slots, expected, profile
        self.season, self.open_ns = season, open_ns
        self.twins = {n: slot["twin"] for n, slot in enumerate(slots) if slot["twin"] is not None}
        self.flows: list[dict[str, Any]] = []
        self.mids: dict[int, list[int | None]] = {}
        self.before_ns = -1
        self.observed_ns = -1  # the session's first instant
        self.runs: dict[Any, dict[str, Any]] = {}

    def can_score(self, slot: int) -> bool:
        """Return whether the slot is a known option that still trades under its id."""
        known = self.slots[slot]
        return bool(known["mapped"] and not known["retired"] and known["kind"] in (1, 2))

    def level(self, slot: int, channel: int) -> float:
        """Return the expected votes of a session, never none."""
        return evidence.bounded(
            self.expected[slot][NAMES[channel]], evidence.MIN_SESSION_VOTES, 1e9
        )

    def market(self, slot: int, window_s: int, side: int, share: float, now_ns: int) -> float:
        """Return how busy that side of the type's other strikes is."""
        others = [n for n in range(len(self.slots)) if n != slot and self.can_score(n)]
        kind = self.slots[slot]["kind"]
        all_votes, all_level, side_votes, side_level = 0, 0.0, 0, 0.0
        for n in others:
            found = votes(self.flows, n, now_ns, (0, window_s), 1, self.twins)
            all_votes, all_level = all_votes + sum(found), all_level + self.level(n, 0)
            if self.slots[n]["kind"] == kind:
                side_votes, side_level = side_votes + found[side], side_level + self.level(n, 0)
        return evidence.market_factor(
            side_votes, side_level * share / 2, all_votes, all_level * share
        )

    def evidence_of(self, slot: int, now_ns: int) -> list[dict[str, Any]]:
        """Return each side's strongest evidence over windows and channels: sell, buy."""
        best: list[dict[str, Any]] = [{"deviate": 0.0}, {"deviate": 0.0}]

        def share_of(start_s: int, end_s: int) -> float:
            start_ns, end_ns = now_ns - start_s * SECOND_NS, now_ns - end_s * SECOND_NS
            if end_s:  # today's level: what was not observed is not expected
                start_ns = max(start_ns, self.observed_ns)
            return evidence.season_share(self.season, self.open_ns, start_ns, end_ns)

        for window_s in WINDOWS_S:
            for channel, cap in enumerate(CAPS):
                found = votes(self.flows, slot, now_ns, (0, window_s), cap, self.twins)
                side = int(found[1] > found[0])
                larger, smaller = found[side], found[1 - side]
                least = self.profile["min_volume_concentration"] * (larger + smaller)
                net = larger - smaller
                if net < evidence.MIN_NET[channel] or net < least:
                    continue
                level = self.level(slot, channel)
                past = sum(votes(self.flows, slot, now_ns, (1800, 7200), cap, self.twins))
                today = evidence.today_factor(past, level * share_of(7200, 1800), channel)
                share = share_of(window_s, 0)
                means = [
                    level * share * today / 2 * self.market(slot, window_s, s, share, now_ns)
                    for s in (side, 1 - side)
                ]
                deviate = evidence.surprise(larger, smaller, means[0], means[1], channel)
                if deviate > best[side]["deviate"]:
                    best[side] = {
                        "deviate": deviate, "window_s": window_s, "cap": cap,
                        "votes_for": larger, "votes_against": smaller,
                        "expected_for": means[0], "expected_against": means[1], "today": today,
                    }  # fmt: skip
        return best

    def moves_with(self, slot: int, side: int, now_ns: int, mids: list[int | None]) -> bool:
        """Return whether the slot fell while sold (side 0), or rose while bought (side 1)."""
        then = self.mids.get(now_ns // (60 * SECOND_NS) - 5, [None] * len(self.slots))[slot]
        now = mids[slot]
        if then is None or now is None:
            return False
        found = votes(self.flows, slot, now_ns, (0, 300), 1, self.twins)
        return (
            (now > then and found[1] > found[0]) if side else (now < then and found[0] > found[1])
        )

    def judged(self, slot: int, side: int, best: Any, now_ns: int, mids: Any) -> dict[str, Any]:
        """Return the whole signal of one side, whether or not it is one."""
        flows, twin = self.flows, self.twins.get(slot)
        found = votes(flows, slot, now_ns, (0, 300), 1, self.twins)
        contracts = volumes(flows, slot, now_ns)
        row = best | {
            "instant_ns": now_ns, "slot": slot, "side": 2 * side - 1,
            "instrument_id": self.slots[slot]["instrument_id"], "kind": self.slots[slot]["kind"],
            "bid_volume": contracts[0], "ask_volume": contracts[1],
            "bid_votes": found[0], "ask_votes": found[1],
            "paired_votes": paired_votes(flows, slot, now_ns, self.twins),
            "persistence": persistence(flows, slot, now_ns, side, self.twins),
            "marks": self.slots[slot]["marks"],
            "crush": int(twin is not None and all(
                self.moves_with(leg, side, now_ns, mids) for leg in (slot, twin))),
        }  # fmt: skip
        family = sum(self.can_score(n) for n in range(len(self.slots)))
        return verdict.judge(row, self.expected[slot], self.profile, family)

    def opens(self, key: Any, holds: bool, now_ns: int) -> bool:
        """Return whether a row is due: it holds, and none was due within the cooldown."""
        never_ns = -(2**62)
        run = self.runs.setdefault(
            key, {"holds": False, "ended_ns": never_ns, "due_ns": never_ns, "began_ns": 0}
        )
        cooldown_ns = self.profile["cooldown_ns"]
        if run["holds"] and not holds:
            run["ended_ns"] = now_ns
        if holds and not run["holds"] and now_ns - run["ended_ns"] >= cooldown_ns:
            run["began_ns"] = now_ns
        run["holds"] = holds
        if holds and now_ns - run["due_ns"] >= cooldown_ns:
            run["due_ns"] = now_ns
            return True
        return False

    def instant(
        self, now_ns: int, flows: list[dict[str, Any]], mids: list[int | None]
    ) -> list[dict[str, Any]]:
        """Score all that changed, with the flow handed over now; return the signals."""
        self.flows += flows
        self.observed_ns = now_ns if self.observed_ns < 0 else self.observed_ns
        mark = now_ns // (60 * SECOND_NS)
        for skipped in range(max(self.mids, default=mark - 1) + 1, mark + 1):
            self.mids[skipped] = mids
        signals = []
        for slot in range(len(self.slots)):
            if not changed(self.flows, slot, self.before_ns, now_ns, self.twins):
                continue
            best = (
                self.evidence_of(slot, now_ns) if self.can_score(slot) else [{"deviate": 0.0}] * 2
            )
            for side in (1, 0):
                row = {"candidate": 0, "alert": 0}
                if best[side]["deviate"] > 0:
                    row = self.judged(slot, side, best[side], now_ns, mids)
                opens = int(self.opens((slot, side, 0), row["candidate"] == 1, now_ns))
                opens += 2 * self.opens((slot, side, 1), row["alert"] == 1, now_ns)
                if opens:
                    began_ns = self.runs[slot, side, 0]["began_ns"]
                    row |= {"opens": opens, "alert": int(opens >= 2), "episode_ns": began_ns}
                    signals.append(row)
        self.before_ns = now_ns
        return signals
