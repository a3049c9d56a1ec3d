"""Packaged worlds whose bytes are fixed: workloads, budgets and reports hang on them.

Goal: a new feature of the simulator changes no stream that others have measured. Method: digests
of streams and of parameters, written down before the feature.
"""

from __future__ import annotations

import datetime as dt
import hashlib

import pytest

from ifd_fast.planner import session_of
from ifd_fast.simulation import Plant, Simulation
from ifd_fast.world import load_world
from tests.conftest import ROOT

PLANT = Plant("NQH6 C21000", "BUY", 20_000, 300, 103, 20)
STREAMS = {
    "ci": (None, "30ef49e0d8b8549bbc02b84a7997f67340e9d00db5d82a38ad8be86032953560"),
    "demo": (None, "f3786a2e3a0b37865598b7cb665c9dad886815248068c08afd347775ce615396"),
    "history": (None, "a48002c842912b4b0db60862bec1a01d625099be19e584083367c36c843b2ebb"),
    "session": (400_000, "e6af9d7abaa69bc0803056e953a1e646fc6231b05dbd3da0d30334e9cd75ba32"),
    "w1": (400_000, "05c46c86c6ebb61fded5747b2faddb1598234e80bbebe3dd7738832b2cbbe970"),
    "w2": (1_200_000, "64a2ab768f0573914e45f0814ac524579d41d97cf8e6510bcb21feb5862e4ebd"),
}
WORLDS = {
    "ci": "206267fc8e6f64e02a34297d2cdd3134942fd70c98eb789fca303eac0959b710",
    "demo": "89fdf848767bdfce37963d90c869043700f060663e5935ecacdf16ceff7e4f73",
    "history": "306e5e94aa107824b8b97e50d25af74a2adcc0506df525d600b9005df8eeef05",
    "session": "d2a335f0a4e3e0532d8267303e2359f0e0370c084cb42dff3197d40a83dc38f7",
    "w1": "7fa3445844d26702cf092269ba0bf2aaad92cb37dfc88ecb63e925cca592f027",
    "w2": "9d072aaa5f8ae679881931b3d7436d1742c968db617c5f49a80c729fa6e13102",
}


@pytest.mark.jit
@pytest.mark.parametrize("name", sorted(STREAMS))
def test_a_presets_bytes_are_what_they_were(name: str) -> None:
    """Seed 7 on 2026-03-10 gives the stream that it gave before planned flow existed."""
    records, expected = STREAMS[name]
    plants = [PLANT] if name in {"ci", "demo"} else []
    session = session_of(dt.date(2026, 3, 10))
    actual = hashlib.sha256()
    for chunk in Simulation(load_world(name), 7, session, plants, records):
        actual.update(chunk.tobytes())
    assert actual.hexdigest() == expected


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_a_presets_digest_is_what_it_was(name: str) -> None:
    """New sections change no digest of a world that leaves them out."""
    assert load_world(name).digest() == WORLDS[name]


def test_the_evaluation_world_is_the_committed_one() -> None:
    """The packaged world is bench/world.toml, byte for byte."""
    packaged = (ROOT / "ifd_fast" / "presets" / "evaluation.toml").read_bytes()
    assert packaged == (ROOT / "bench" / "world.toml").read_bytes()
