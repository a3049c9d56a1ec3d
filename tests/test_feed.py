"""The feed of a live record: publisher and subscribers, fast, slow, late and gone."""

from __future__ import annotations

import math
import socket
import stat
import time
from typing import TYPE_CHECKING

import pytest

from ifd_fast import publishing
from ifd_fast.errors import DataError
from ifd_fast.publishing import FEED, SUBSCRIBERS_MAX, Publisher, bind_feed
from ifd_fast.subscribing import Feed, FeedItem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.border


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    """Yield a publisher of an empty record."""
    one = Publisher(tmp_path)
    yield one
    one.close(1.0)


def take(feed: Feed, until: str, within_s: float = 10.0) -> list[FeedItem]:
    """Return what a feed says up to an item of kind `until`."""
    items: list[FeedItem] = []
    ends_s = time.monotonic() + within_s
    while not any(one.kind == until for one in items):
        assert time.monotonic() < ends_s, items[-3:]
        items += feed.poll(0.2)
    return items


def test_what_is_said_is_heard(publisher: Publisher, tmp_path: Path) -> None:
    """In order, by each subscriber, numbers that are not finite as null."""
    feeds = [Feed(tmp_path), Feed(tmp_path)]
    for feed in feeds:
        assert feed.poll(2.0) == [FeedItem("begin")]
    publisher.publish("windows", [{"strike": 21_500.0, "pressure_ratio": math.inf}])
    publisher.publish("state", {"state": "live", "why": ""})
    for feed in feeds:
        assert take(feed, "state") == [
            FeedItem("windows", [{"strike": 21_500.0, "pressure_ratio": None}]),
            FeedItem("state", {"state": "live", "why": ""}),
        ]
        feed.close()


def test_who_comes_late_is_told_what_no_segment_holds(publisher: Publisher, tmp_path: Path) -> None:
    """The last state and health, and rows since the last that were stored."""
    publisher.publish("windows", [1])
    publisher.publish("state", {"state": "connecting"})
    publisher.publish("state", {"state": "live"})
    publisher.settle()
    publisher.publish("signals", [2])
    publisher.publish("health", {"lag_s": 0.1})
    feed = Feed(tmp_path)
    found = take(feed, "signals")
    assert found == [
        FeedItem("begin"),
        FeedItem("state", {"state": "live"}),
        FeedItem("health", {"lag_s": 0.1}),
        FeedItem("signals", [2]),
    ]
    feed.close()


def test_who_never_reads_holds_nobody_up(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its oldest lines are dropped and counted, and it is told how many, whole lines after."""
    monkeypatch.setattr(publishing, "QUEUE_BYTES", 200_000)
    stuck, quick = Feed(tmp_path), Feed(tmp_path)
    assert stuck.poll(2.0)[0].kind == quick.poll(2.0)[0].kind == "begin"
    heard = 0
    for number in range(400):
        publisher.publish("windows", [number, "x" * 5_000])
        heard += sum(one.kind == "windows" for one in quick.poll(0.05))
    publisher.publish("end", {})
    heard += sum(one.kind == "windows" for one in take(quick, "end"))
    assert heard == 400
    found = take(stuck, "end")
    missed = sum(one.data for one in found if one.kind == "dropped")
    numbers = [one.data[0] for one in found if one.kind == "windows"]
    assert missed == publisher.dropped > 0
    assert len(numbers) + missed == 400
    assert numbers == sorted(numbers)
    stuck.close()
    quick.close()


def test_a_keeper_that_comes_back_is_followed_again(tmp_path: Path) -> None:
    """`lost`, then `begin`: what was missed lies in segments."""
    first = Publisher(tmp_path)
    feed = Feed(tmp_path)
    assert feed.poll(2.0) == [FeedItem("begin")]
    first.close(1.0)
    assert not (tmp_path / FEED).exists()
    second = Publisher(tmp_path)
    found = take(feed, "begin")
    assert [one.kind for one in found] == ["lost", "begin"]
    second.publish("state", {"state": "live"})
    assert take(feed, "state")[-1].data == {"state": "live"}
    feed.close()
    second.close(1.0)


def test_there_is_room_for_so_many(publisher: Publisher, tmp_path: Path) -> None:
    """The next is refused in words, and has room once another has left."""
    feeds = [Feed(tmp_path) for _ in range(SUBSCRIBERS_MAX)]
    for feed in feeds:
        feed.poll(2.0)
    late = Feed(tmp_path)
    found = take(late, "lost")
    assert [one.kind for one in found] == ["refused", "lost"]
    assert str(SUBSCRIBERS_MAX) in found[0].data
    feeds.pop().close()
    ends_s = time.monotonic() + 5.0
    while publisher.subscribers == SUBSCRIBERS_MAX:
        assert time.monotonic() < ends_s
        time.sleep(0.01)
    assert take(late, "begin")
    publisher.publish("state", {})
    assert take(late, "state")
    for feed in (*feeds, late):
        feed.close()


def test_it_is_this_users_and_no_folder_is_too_deep(tmp_path: Path) -> None:
    """Mode 0600; a path beyond the 108 bytes of an address; nothing served: nothing said."""
    folder = tmp_path / ("deep" * 40)
    folder.mkdir()
    feed = Feed(folder)
    assert feed.poll(0.0) == []
    publisher = Publisher(folder)
    assert stat.S_IMODE((folder / FEED).stat().st_mode) == 0o600
    assert feed.poll(2.0) == [FeedItem("begin")]
    assert feed.fileno() > 0
    feed.close()
    assert feed.fileno() == -1
    publisher.close(1.0)


def test_a_publisher_that_ended_reaches_nobody(tmp_path: Path) -> None:
    """And fails nobody: the keeper goes on publishing to a feed whose thread is gone."""
    publisher = Publisher(tmp_path)
    publisher.close(1.0)
    publisher.publish("state", {"state": "live"})
    publisher.settle()
    assert publisher.subscribers == 0


def test_another_protocol_is_named(tmp_path: Path) -> None:
    """Who speaks no JSON is another version, and no reason to go on."""
    with bind_feed(tmp_path) as listener:
        listener.setblocking(True)
        feed = Feed(tmp_path)
        assert feed.poll(0.0) == []
        client: socket.socket = listener.accept()[0]
        with client:
            client.sendall(b"\x00\x01\n")
            with pytest.raises(DataError, match="another version"):
                feed.poll(2.0)
