"""The scoring instant in plain Python: each slot that changed, each side, from all flow so far."""

from __future__ import annotations

from typing import Any

from tests.oracle import companions, evidence, neighbours, ranks, verdict
from tests.oracle.votes import (
    SECOND_NS,
    SIDES,
    WINDOWS_S,
    changed,
    paired_votes,
    persistence,
    slow_votes,
    volumes,
    votes,
)  # fmt: skip

COVERS = [
    "fill_evidence",
    "is_rare",
    "settle_side",
    "thresholds.judge_log",
    "thresholds.log_evidence",
    "verdict.judge_evidence",
    "verdict.judge_thresholds",
    "score_instant",
    "weighing.begin_instant",
    "weighing.refresh_family",
    "weighing.sample_minute",
    "weighing.weigh_dirty",
    "rescoring.note_rows",
    "rescoring.rescore_session",
    "mids.falls_while_sold",
    "mids.mark_mids",
    "mids.middle",
]

CAPS = {evidence.A: 1, evidence.C: 10}
# What a slot's flow says of others must be so concentrated, whatever the profile asks.
POOL_CONCENTRATION = 0.3
GRAINS = {60: evidence.B60, 15: evidence.B15, 5: evidence.B5}


class Scorer:
    """One session's scorer.

    `slots`: dicts of instrument_id, kind (1 call, 2 put, other: not scored), mapped, retired,
    twin (or None), strike, marks. `expected`: dicts of EXPECTED's fields. `tables`, `limits`: what
    residuals are worth.
    """

    def __init__(
        self, slots: Any, expected: Any, season: list[float], open_ns: int, profile: Any,
        tables: Any, limits: Any,
    ) -> None:  # fmt: skip
        """Begin a session in which nothing has happened."""
        self.slots, self.expected, self.profile = slots, expected, profile
        self.season, self.open_ns = season, open_ns
        self.tables, self.limits = tables, limits
        self.twins = {n: slot["twin"] for n, slot in enumerate(slots) if slot["twin"] is not None}
        self.flows: list[dict[str, Any]] = []
        self.mids: dict[int, list[int | None]] = {}
        self.said: dict[int, int] = {}  # how each slot's mid moved when a fact last said so
        self.before_ns = -1
        self.episodes: dict[Any, dict[str, Any]] = {}
        self.due_ns: dict[Any, int] = {}
        self.best: list[list[dict[str, Any]]] = [[{"rank": 0.0}, {"rank": 0.0}] for _ in slots]
        self.known_to_others = list(self.best)

    def can_score(self, slot: int) -> bool:
        """Return whether the slot is a known option that still trades under its id."""
        known = self.slots[slot]
        return bool(known["mapped"] and not known["retired"] and known["kind"] in (1, 2))

    def level(self, slot: int, channel: int) -> float:
        """Return the expected votes of a session, never none."""
        name = "votes_10" if channel == evidence.C else "votes_1"
        votes = evidence.bounded(self.expected[slot][name], evidence.MIN_SESSION_VOTES, 1e9)
        if channel in (evidence.A, evidence.C):
            return votes
        share = float(self.limits["grain_shares"][channel - 1])
        return votes * evidence.bounded(share, 0.01, 1.0)

    def grain_s(self, slot: int) -> int:
        """Return in how many seconds a side of the slot has one vote of channel B, 0: none."""
        last = len(self.season) - 1
        hour = max(self.season[min(n + 12, last)] - share for n, share in enumerate(self.season))
        votes = self.level(slot, evidence.A) * hour
        for limit, grain_s in ((8, 60), (40, 15), (120, 5)):
            if votes < limit:
                return grain_s if self.can_score(slot) else 0
        return 0

    def channels(self, slot: int, window_s: int) -> list[int]:
        """Return the channels that say something of a window of the slot."""
        grain_s = self.grain_s(slot)
        if grain_s == 0 or (window_s == 60 and grain_s >= 15):
            return [evidence.A, evidence.C]
        return [evidence.A, evidence.C, GRAINS[grain_s]]

    def votes(self, slot: int, channel: int, now_ns: int, span: tuple[int, int]) -> list[int]:
        """Return the votes of bid and ask of a channel."""
        if channel in CAPS:
            return votes(self.flows, slot, now_ns, span, CAPS[channel], self.twins)
        return slow_votes(self.flows, slot, now_ns, span, self.grain_s(slot), self.twins)

    def markets(self, slot: int, window_s: int, share: float, now_ns: int) -> list[float]:
        """Return how busy the type's other strikes are: selling, buying, and all others."""
        others = [n for n in range(len(self.slots)) if n != slot and self.can_score(n)]
        kind = self.slots[slot]["kind"]
        all_votes, all_level, side_votes, side_level = 0, 0.0, [0, 0], 0.0
        for n in others:
            found = self.votes(n, evidence.A, now_ns, (0, window_s))
            all_votes, all_level = all_votes + sum(found), all_level + self.level(n, evidence.A)
            if self.slots[n]["kind"] == kind:
                side_votes = [side_votes[0] + found[0], side_votes[1] + found[1]]
                side_level += self.level(n, evidence.A)
        level = evidence.market_level(all_votes, all_level * share)
        sides = [evidence.market_factor(v, side_level * share / 2, level) for v in side_votes]
        return [*sides, level]

    def measured(
        self, slot: int, channel: int, window_s: int, now_ns: int, concentration: float
    ) -> dict[str, Any] | None:
        """Return what a window and channel of the slot say, None if it is not worth weighing."""
        found = self.votes(slot, channel, now_ns, (0, window_s))
        side = int(found[1] > found[0])
        larger, smaller = found[side], found[1 - side]
        least = concentration * (larger + smaller)
        if larger - smaller < evidence.MIN_NET[channel] or larger - smaller < least:
            return None
        mean, today, markets = self.means(slot, channel, window_s, now_ns)
        means = [mean / 2 * markets[s] for s in (side, 1 - side)]
        return {
            "side": side, "usual": mean * markets[2], "window_s": window_s,
            "deviate": evidence.surprise(larger, smaller, means[0], means[1], channel),
            "channel": channel, "votes_for": larger, "votes_against": smaller,
            "expected_for": means[0], "expected_against": means[1], "today": today,
        }  # fmt: skip

    def means(
        self, slot: int, channel: int, window_s: int, now_ns: int
    ) -> tuple[float, float, list[float]]:
        """Return what history and today expect of both sides, today's factor, the markets'."""
        level = self.level(slot, channel)
        past = sum(self.votes(slot, channel, now_ns, (1800, 7200)))
        start_ns = max(now_ns - 7200 * SECOND_NS, self.open_ns)  # what was not seen isn't expected
        before = evidence.season_share(
            self.season, self.open_ns, start_ns, now_ns - 1800 * SECOND_NS
        )
        today = evidence.today_factor(past, level * before, channel)
        share = evidence.season_share(
            self.season, self.open_ns, now_ns - window_s * SECOND_NS, now_ns
        )
        return level * share * today, today, self.markets(slot, window_s, share, now_ns)

    def evidence_of(self, slot: int, now_ns: int, concentration: float) -> list[dict[str, Any]]:
        """Return each side's strongest evidence over windows and channels: sell, buy."""
        best: list[dict[str, Any]] = [{"rank": 0.0}, {"rank": 0.0}]
        for channel in self.channels(slot, WINDOWS_S[-1]):
            for window, window_s in enumerate(WINDOWS_S):
                if channel not in self.channels(slot, window_s):
                    continue
                found = self.measured(slot, channel, window_s, now_ns, concentration)
                if found is None:
                    continue
                side, usual = found.pop("side"), found.pop("usual")
                rank = ranks.rank_of(self.tables, channel, window, usual, found["deviate"])
                if rank > best[side]["rank"]:
                    best[side] = found | {"rank": rank}
        return best

    def agreement(self, slot: int, side: int, now_ns: int) -> float:
        """Return the coordination of the strikes within two of the slot's own, and their twins."""
        leans = {}
        for n in range(len(self.slots)):
            if self.can_score(n):
                found = self.votes(n, evidence.A, now_ns, (0, 300))
                lean = neighbours.lean_of(found, self.slots[n]["kind"])
                if lean is not None:
                    leans[n] = lean
        own = self.slots[slot]
        same = [n for n in range(len(self.slots)) if self.is_option_like(n, own["kind"])]
        same.sort(key=lambda n: self.slots[n]["strike"])
        at = same.index(slot)
        near = same[max(0, at - 2) : at + 3]
        near += [self.twins[n] for n in near if n in self.twins]
        towards = (1 if side else -1) * (1 if own["kind"] == 1 else -1)
        return neighbours.coordination(leans, near, slot, towards)

    def companions(self, slot: int) -> list[int]:
        """Return the options of the other type; all have one expiry and future here."""
        return [n for n in range(len(self.slots)) if self.is_option_like(n, 3 - self.kind(slot))]

    def kind(self, slot: int) -> int:
        """Return 1 for a call, 2 for a put."""
        return int(self.slots[slot]["kind"])

    def is_option_like(self, slot: int, kind: int) -> bool:
        """Return whether the slot can be scored and is of the kind; all have one expiry here."""
        return self.can_score(slot) and self.slots[slot]["kind"] == kind

    def move(self, slot: int, mark: int) -> int:
        """Return the sign of the slot's move from the mark five before `mark` to it."""
        none: list[int | None] = [None] * len(self.slots)
        then = self.mids.get(mark - 5, none)[slot]
        now = self.mids.get(mark, none)[slot]
        if then is None or now is None:
            return 0
        return (now > then) - (now < then)

    def say(self, flow: dict[str, Any], mark: int) -> None:
        """Take a fact: it says how the mids of its slot and its twin had moved at `mark`."""
        self.flows.append(flow)
        for slot in (flow["slot"], self.twins.get(flow["slot"])):
            if slot is not None:
                self.said[slot] = self.move(slot, mark)

    def note_moves(self, now_ns: int, mark: int) -> None:
        """Take an empty fact of each strike, both legs of it traded, whose mids turned."""
        for slot, twin in sorted(self.twins.items()):
            lately = [
                flow["slot"]
                for flow in self.flows
                if self.before_ns - flow["instant_ns"] < 300 * SECOND_NS
                and any(flow[side][1] > flow[side][0] for side in SIDES)
            ]
            turned = any(self.move(leg, mark) != self.said.get(leg, 0) for leg in (slot, twin))
            if twin > slot and slot in lately and twin in lately and turned:
                empty = dict.fromkeys(SIDES, (0, 0))
                second = now_ns // SECOND_NS - 1
                self.say({"slot": slot, "second": second, "instant_ns": now_ns, **empty}, mark)

    def moves_with(self, slot: int, side: int, now_ns: int) -> bool:
        """Return whether the slot fell while sold (side 0), or rose while bought (side 1).

        From the mark five before the last one to the last one.
        """
        moved = self.move(slot, now_ns // (60 * SECOND_NS))
        found = votes(self.flows, slot, now_ns, (0, 300), 1, self.twins)
        return (moved > 0 and found[1] > found[0]) if side else (moved < 0 and found[0] > found[1])

    def judged(self, slot: int, side: int, best: Any, now_ns: int) -> dict[str, Any]:
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
            "usual_votes": evidence.usual_votes(
                self.expected[slot]["votes_1"],
                evidence.season_share(
                    self.season, self.open_ns, now_ns - 300 * SECOND_NS, now_ns
                ),
            ),
            "crush": int(twin is not None and all(
                self.moves_with(leg, side, now_ns) for leg in (slot, twin))),
        }  # fmt: skip
        family = sum(self.can_score(n) for n in range(len(self.slots)))
        found_ranks = [[one["rank"] for one in both] for both in self.best]
        row["q"] = family / neighbours.sides_as_strong(found_ranks, best["rank"])
        beside = self.companions(slot)
        shown = self.known_to_others
        row["in_step"] = companions.in_step_share(
            flows, slot, side, now_ns, shown[slot][side].get("window_s", 300), beside, self.twins
        )
        row["companion_decades"] = companions.companion_decades(
            [shown[n][side]["rank"] for n in beside],
            shown[twin][side]["rank"] if twin in beside else 0,
        )
        row["coordination"] = self.agreement(slot, side, now_ns)
        return verdict.judge(row, self.expected[slot], self.profile, self.limits)

    def is_due(self, key: Any, holds: bool, now_ns: int) -> bool:
        """Return whether a row is due: it holds, and none was due within the cooldown."""
        due_ns = self.due_ns.get(key, -(2**62))
        if holds and now_ns - due_ns >= self.profile["cooldown_ns"]:
            self.due_ns[key] = now_ns
            return True
        return False

    def episode(self, slot: int, side: int, candidate: bool, now_ns: int) -> int:
        """Follow the side's episode, which a candidate begins, and return when it began.

        It lasts while there is a candidate, or evidence rarer by chance than once a session, and
        over breaks shorter than the cooldown.
        """
        ranks = [known[slot][side]["rank"] for known in (self.best, self.known_to_others)]
        rare = evidence.null_decades(self.limits, max(ranks)) >= 0
        on = self.episodes.setdefault((slot, side), {"on": False, "ended_ns": -(2**62), "ns": 0})
        if candidate and not on["on"]:
            on["on"] = True
            if now_ns - on["ended_ns"] >= self.profile["cooldown_ns"]:
                on["ns"], on["reached"] = now_ns, 0.0
        elif on["on"] and not candidate and not rare:
            on["on"], on["ended_ns"] = False, now_ns
        return int(on["ns"])

    def reaches_class(self, key: Any, row: dict[str, Any]) -> bool:
        """Return whether the candidate's tenth of confidence is its episode's highest so far."""
        edges = [edge for edge in (0.5, 0.6, 0.7, 0.8, 0.9) if edge <= row["final_confidence"]]
        before, self.episodes[key]["reached"] = (
            self.episodes[key]["reached"], max([self.episodes[key]["reached"], *edges]),
        )  # fmt: skip
        return bool(self.episodes[key]["reached"] > before)

    def instant(
        self, now_ns: int, flows: list[dict[str, Any]], mids: list[int | None]
    ) -> list[dict[str, Any]]:
        """Score all that changed, with the flow handed over now; return the signals."""
        mark = now_ns // (60 * SECOND_NS)
        last = max(self.mids, default=mark - 1)
        for flow in flows:
            self.say(flow, last)
        for skipped in range(last + 1, mark + 1):
            self.mids[skipped] = mids
        if mark > last:
            self.note_moves(now_ns, mark)
        slots = [
            n
            for n in range(len(self.slots))
            if changed(self.flows, n, self.before_ns, now_ns, self.twins)
        ]
        for slot in slots:
            self.best[slot] = self.known_to_others[slot] = [{"rank": 0.0}, {"rank": 0.0}]
            if self.can_score(slot):
                asked = self.profile["min_volume_concentration"]
                self.best[slot] = self.evidence_of(slot, now_ns, asked)
                shown = self.evidence_of(slot, now_ns, POOL_CONCENTRATION)
                self.known_to_others[slot] = shown
        signals = []
        for slot in slots:
            for side in (1, 0):
                row = {"candidate": 0, "alert": 0}
                if self.best[slot][side]["rank"] > 0:
                    row = self.judged(slot, side, self.best[slot][side], now_ns)
                began_ns = self.episode(slot, side, row["candidate"] == 1, now_ns)
                opens = int(self.is_due((slot, side, 0), row["candidate"] == 1, now_ns))
                opens += 2 * self.is_due((slot, side, 1), row["alert"] == 1, now_ns)
                opens += 4 * (row["candidate"] == 1 and self.reaches_class((slot, side), row))
                if opens:
                    alerts = opens // 2 % 2
                    row |= {"opens": opens, "alert": alerts, "episode_ns": began_ns}
                    signals.append(row)
        self.before_ns = now_ns
        return signals
