"""Logs: no secret comes through, from us or from others, in either format."""

from __future__ import annotations

import io
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifd_fast.credentials import Secret
from ifd_fast.logs import get_logger, hide_secrets, set_up_logging

KEY = "db-" + "Q7" * 14 + "z"
pytestmark = pytest.mark.usefixtures("logging_put_back")


def log_everything(log_format: str, level: str = "debug") -> str:
    """Log the key in every way one can think of and return what was written."""
    stream = io.StringIO()
    set_up_logging(level, log_format, stream)
    log = get_logger("test")
    log.info(KEY, key=KEY, api_key="short", nested={"list": [KEY, (KEY,)], KEY: 1})
    log.warning("held", secret=Secret(KEY), raw=KEY.encode(), held=[Secret(KEY)], of={KEY})
    logging.getLogger("databento.live").warning("authenticating with %s", KEY)
    try:
        int(KEY)
    except ValueError:
        log.exception("failed")
        logging.getLogger("other").exception("failed too")
    return stream.getvalue()


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_secret_is_written(log_format: str) -> None:
    """Messages, fields, nested values, other libraries and tracebacks come out without the key."""
    actual = log_everything(log_format)
    assert KEY not in actual
    assert "short" not in actual
    assert actual.count("[secret]") >= 10
    assert "ValueError" in actual


def test_json_is_one_object_a_line() -> None:
    """Each line is a JSON object with event, level, logger and an ISO time in UTC."""
    lines = [json.loads(line) for line in log_everything("json").splitlines()]
    assert [line["level"] for line in lines] == ["info", "warning", "warning", "error", "error"]
    assert all({"event", "logger", "timestamp"} <= line.keys() for line in lines)
    assert lines[0]["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    ("level", "count"), [("debug", 5), ("info", 5), ("warning", 4), ("error", 2)]
)
def test_the_level_is_kept(level: str, count: int) -> None:
    """What lies below the level is not written, whoever logs it."""
    assert len(log_everything("json", level).splitlines()) == count


def test_a_value_that_holds_itself_ends() -> None:
    """A cycle is cut, not followed."""
    endless: list[object] = [KEY]
    endless.append(endless)
    assert KEY not in str(hide_secrets(None, "info", {"event": "x", "value": endless}))


PLAIN = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)


def holding_key(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Return structures of `inner`."""
    return st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner)


@given(st.recursive(PLAIN | st.just(KEY) | st.just(Secret(KEY)), holding_key))
def test_no_structure_lets_a_key_through(value: object) -> None:
    """However it is wrapped, the key is gone, and so is a text around it."""
    event = {"event": f"({KEY})", "value": value}
    assert KEY not in str(hide_secrets(None, "info", event))


@given(st.dictionaries(st.sampled_from(["count", "name", "ok"]), PLAIN))
def test_plain_events_are_left_alone(event: dict[str, object]) -> None:
    """An event without secrets comes out as it went in."""
    assert hide_secrets(None, "info", dict(event)) == event
