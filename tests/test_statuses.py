"""Trading states beside the market data: a file of them acts as records in the stream do."""

from __future__ import annotations

from pathlib import Path

import pytest

import ifd_fast
from ifd_fast.errors import SchemaError, UsageError
from tests.strategies_quality import status
from tests.test_replaying import DAY, OPEN, SECOND, START, market, write

FUTURE = 7
HALT, RESUME = OPEN + 1_000 * SECOND, OPEN + 1_900 * SECOND


def states() -> list[bytes]:
    """Return a halt of 900 s and its end, and a halt after the last trade."""
    return [
        status(HALT, trading=False, instrument_id=FUTURE),
        status(RESUME, trading=True, instrument_id=FUTURE),
        status(OPEN + 9_000 * SECOND, trading=False, instrument_id=FUTURE),
    ]


def received(record: bytes) -> int:
    """Return when a record was received, ns."""
    return int.from_bytes(record[40:48] if record[1] == 0xA0 else record[16:24], "little")


def test_a_status_file_marks_the_windows_of_a_halt(tmp_path: Path) -> None:
    """The windows from 900 to 2,100 s touch the halt: C, in whatever order files are named."""
    data = write(tmp_path / "a.dbn", market())
    beside = write(tmp_path / "z.dbn.zst", states(), schema="status")
    plain = ifd_fast.replay(data)
    assert set(plain.windows["quality"]) == {"A"}
    for files in ([data, beside], [beside, data]):
        found = ifd_fast.replay(files)
        starts = [(start - OPEN) // SECOND for start in found.windows["window_start"].cast(int)]
        halted = [
            start
            for start, mark in zip(starts, found.windows["quality"], strict=True)
            if mark == "C"
        ]
        assert halted == [900, 1_200, 1_500, 1_800]
        assert found.facts_digest == plain.facts_digest
        assert found.counts["handed_by_type"] == {"status": 3}


def test_a_status_file_acts_as_records_in_the_stream_do(tmp_path: Path) -> None:
    """Mixed into the market data in order of receipt, the same states give the same rows."""
    mixed = sorted([*states()[:2], *market()], key=received)
    expected = ifd_fast.replay(write(tmp_path / "mixed.dbn", mixed))
    beside = write(tmp_path / "status.dbn", states()[:2], schema="status")
    actual = ifd_fast.replay([write(tmp_path / "data.dbn", market()), beside])
    assert actual.rows_digest == expected.rows_digest
    assert actual.signals.equals(expected.signals)


def test_states_of_another_day_are_refused(tmp_path: Path) -> None:
    """An id means something for a day only: states of a week later are named and refused."""
    data = write(tmp_path / "a.dbn", market(30))
    late = [status(OPEN + 7 * DAY, trading=False, instrument_id=FUTURE)]
    beside = write(tmp_path / "late.dbn", late, schema="status", start=START, end=START + 9 * DAY)
    with pytest.raises(SchemaError, match=r"late\.dbn: no status record is of a day"):
        ifd_fast.replay([data, beside])


def test_states_alone_are_no_market(tmp_path: Path) -> None:
    """Without market data beside them there is nothing to replay."""
    beside = write(tmp_path / "status.dbn", states(), schema="status")
    with pytest.raises(UsageError, match="at least one file must hold market data"):
        ifd_fast.replay(beside)
