"""The snapshot of a book: against a plain book, order by order, and by the engine's own reading."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ifd_fast.gateway_snapshot import snapshot_records
from ifd_fast.gateway_tape import Part, Tape
from tests.gateway_client import DATASET, little_market, order_events

pytestmark = pytest.mark.border

NOW_NS = 1_767_600_000_000_000_000


class Order(NamedTuple):
    """One resting order of the plain book."""

    price: int
    size: int


def plain_book(events: NDArray[np.void]) -> dict[int, dict[int, Order]]:
    """Apply the rules of the book event by event; dicts keep the order of the queue."""
    book: dict[int, dict[int, Order]] = defaultdict(dict)
    for event in events:
        orders, number = book[int(event["instrument_id"])], int(event["order_id"])
        action, price, size = chr(event["action"]), int(event["price"]), int(event["size"])
        held = orders.get(number)
        if action == "R":
            orders.clear()
        elif action == "C" and held is not None:
            if size >= held.size:
                del orders[number]
            else:
                orders[number] = held._replace(size=held.size - size)
        elif action in "AM":
            keeps = action == "M" and held is not None and held.price == price and size <= held.size
            if not keeps:
                orders.pop(number, None)
            orders[number] = Order(price, size)
            if size == 0:
                del orders[number]
    return book


def snapshot_of(tape: Tape, place: int) -> NDArray[np.void]:
    """Return the snapshot of the tape's three instruments after `place` records."""
    return snapshot_records(tape, (place,), [3, 1, 2], NOW_NS)


@given(st.integers(0, 2**32 - 1), st.integers(0, 300))
def test_the_orders_are_those_of_a_plain_book(seed: int, place: int) -> None:
    """Every order with its price and what is left of it, in the order of the queue."""
    tape = little_market(300, seed)
    found = snapshot_of(tape, place)
    book = plain_book(order_events(300, seed)[:place])
    for number in (1, 2, 3):
        adds = found[(found["instrument_id"] == number) & (found["action"] == ord("A"))]
        expected = [(one, order.price, order.size) for one, order in book[number].items()]
        assert adds[["order_id", "price", "size"]].tolist() == expected


def test_the_records_are_those_of_a_snapshot() -> None:
    """Each instrument: a clear, then adds; flags 40, the last of each 168; one ts_recv."""
    found = snapshot_of(little_market(300), 300)
    assert set(found["ts_recv"].tolist()) == {NOW_NS}
    assert set(found["flags"].tolist()) == {40, 168}
    assert found["instrument_id"].tolist() == sorted(found["instrument_id"].tolist())
    for number in (1, 2, 3):
        part = found[found["instrument_id"] == number]
        assert part["flags"].tolist() == [40] * (len(part) - 1) + [168]
        assert [chr(one) for one in part["action"]] == ["R"] + ["A"] * (len(part) - 1)
        assert part[["order_id", "size", "sequence"]][0].tolist() == (0, 0, 0)
        assert part["price"][0] == 2**63 - 1


@pytest.mark.parametrize("place", [0, 300])
def test_an_unknown_instrument_has_its_clear_alone(place: int) -> None:
    """Whoever is asked about gets a clear; of no instruments there is nothing."""
    tape = little_market(300)
    assert snapshot_records(tape, (place,), [99], NOW_NS)["action"].tolist() == [ord("R")]
    assert len(snapshot_records(tape, (place,), [], NOW_NS)) == 0


def test_files_are_taken_together() -> None:
    """Two files of one market are one book, in order of capture."""
    events = order_events(300)
    rows = events.view(np.uint8).reshape(-1, 56)
    parts = [Part("mbo", rows[:120]), Part("mbo", rows[120:])]
    apart = Tape(DATASET, parts, little_market(10).listed)
    together = snapshot_of(little_market(300), 300)
    assert snapshot_records(apart, apart.end, [1, 2, 3], NOW_NS).tobytes() == together.tobytes()
