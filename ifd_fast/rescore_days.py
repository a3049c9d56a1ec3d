"""The two kinds of work of a re-scoring, as tasks for any worker: seal a unit, score a session.

A task names files and settings, nothing that lives in a process, and leaves whole folders behind
or none. What it returns is small.
"""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from ifd_fast.calendar import load_sessions
from ifd_fast.errors import DataError
from ifd_fast.outputs import FrameFile
from ifd_fast.sealed_files import (
    DONE_FILE,
    DayFolders,
    make_aside,
    no_space,
    publish_folder,
    write_json,
)
from ifd_fast.signals import SIGNAL_SCHEMA

if TYPE_CHECKING:
    from ifd_fast.baseline_estimates import Arrays
    from ifd_fast.config import Settings
    from ifd_fast.units import Unit

__all__ = ["ScoreTask", "Scored", "SealTask", "Sealed", "score_session", "seal_unit"]


@dataclass(frozen=True)
class SealTask:
    """A unit to be sealed below `folder`; `key` names what it is made from."""

    unit: Unit
    settings: Settings
    folder: Path
    root: str
    key: str


@dataclass(frozen=True)
class Sealed:
    """What became of a unit: its sessions, as their session.json has them, or what is wrong."""

    sessions: list[dict[str, Any]]
    counts: dict[str, Any]
    error: str | None = None


@dataclass(frozen=True)
class ScoreTask:
    """A sealed session to be scored: where it lies, by what, and to where."""

    trade_date: dt.date
    sealed: Path
    settings: Settings
    store: Path | None
    estimates: Path  # the array file, made if it isn't there
    to: Path
    key: str


@dataclass(frozen=True)
class Scored:
    """What a scored session's done.json says."""

    document: dict[str, Any]


def seal_unit(task: SealTask) -> Sealed:
    """Play a unit and publish its sessions; bad input is reported, not raised."""
    from ifd_fast.sealed_replay import seal_files, seal_record

    unit = task.unit
    done = {"key": task.key, "unit": unit.name}
    metadata = {"ifd.sealing_key": task.key}
    try:
        with DayFolders(task.folder, task.root, metadata) as folders:
            if unit.is_record:
                sessions, counts = seal_record(unit.files[0], task.settings, folders, done)
            else:
                sessions, counts = seal_files(unit.files, task.settings, folders, done)
    except DataError as error:
        return Sealed([], {}, str(error))
    return Sealed(sessions, counts)


def score_session(task: ScoreTask) -> Scored:
    """Score one sealed session against the sessions before it, and publish its signals."""
    from ifd_fast.digests import SignalDigest
    from ifd_fast.ranking import unknown_ranking
    from ifd_fast.rescoring import read_sealed, score_sealed

    profile = task.settings.profile
    sessions = load_sessions(profile.calendar)
    arrays = _arrays_of(task)
    found = score_sealed(
        read_sealed(task.sealed, task.trade_date, sessions), arrays, profile, sessions
    )
    digest = SignalDigest()
    digest.update(found)
    ranking = None
    if arrays is not None:
        known = arrays.ranking or unknown_ranking()
        ranking = known.describe(profile.false_alerts_per_session)
    document = {
        "key": task.key,
        "trade_date": task.trade_date.isoformat(),
        "candidates": int(found["candidate"].sum()),
        "alerts": int(found["alert"].sum()),
        "signals": found.height,
        "signals_digest": digest.signals_digest,
        "baselines": None if arrays is None else arrays.digest,
        "ranking": ranking,
    }
    _publish(task, found, document)
    return Scored(document)


def _publish(task: ScoreTask, found: pl.DataFrame, document: dict[str, Any]) -> None:
    aside = make_aside(task.to.parent)
    metadata = {
        "ifd.config_digest": task.settings.digest,
        "ifd.rules_digest": task.settings.profile.rules_digest,
    }
    try:
        file = FrameFile(aside / "signals.parquet", SIGNAL_SCHEMA, metadata)
        file.append(found)
        file.close()
        write_json(aside / DONE_FILE, document)
        publish_folder(aside, task.to)
    except OSError as error:
        raise no_space(task.to, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _arrays_of(task: ScoreTask) -> Arrays | None:
    """Return the baselines as they stood at the session's open, None if there are none."""
    if task.store is None:
        return None
    made = _estimate(
        task.store, task.trade_date, task.settings.profile.lookback_days, task.estimates
    )
    return made if made.sessions else None


@lru_cache(maxsize=2)
def _estimate(store: Path, trade_date: dt.date, lookback: int, to: Path) -> Arrays:
    """Return the array file `to` if it is of these inputs; else estimate, and publish it."""
    from ifd_fast.baseline_estimates import digest_inputs, estimate
    from ifd_fast.baseline_file import load_arrays, publish_arrays
    from ifd_fast.baseline_store import open_store

    with open_store(store) as connection:
        if to.is_file():
            try:
                kept = load_arrays(to)
            except DataError:  # of an earlier version, or damaged: it is made anew
                kept = None
            if kept is not None and kept.digest == digest_inputs(connection, trade_date, lookback):
                return kept
        arrays = estimate(connection, trade_date, lookback)
    publish_arrays(to, arrays)
    return load_arrays(to)
