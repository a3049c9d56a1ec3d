"""Independent tasks on any `concurrent.futures.Executor`: processes here, or a Dask cluster.

A task is a function of the package and one picklable argument; what comes back doesn't depend on
who ran it, in which order, or how often: a worker that is lost takes its task with it, and the
task is run again.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from ifd_fast.errors import IfdError, UsageError

__all__ = ["Workers"]

_ATTEMPTS: Final = 3
Task = TypeVar("Task")
Found = TypeVar("Found")


class Workers:
    """Where tasks run: `workers` processes of this machine, or the cluster at `cluster`.

    Raises
    ------
    UsageError
        Fewer than one process, or the extra `cluster` isn't installed.
    """

    def __init__(self, workers: int = 1, cluster: str | None = None) -> None:
        """Start nothing yet."""
        if workers < 1:
            raise UsageError(f"`--workers` must be at least 1, was {workers}.")
        self._workers, self._cluster = workers, cluster

    def run(
        self, function: Callable[[Task], Found], tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Found]]:
        """Yield each task and what it returned, as they end; the first that raises ends all.

        A task whose worker was lost is run again, three times in all.
        """
        left = list(range(len(tasks)))
        for _ in range(_ATTEMPTS):
            lost: list[int] = []
            with self._executor(len(left)) as executor:
                futures = {executor.submit(function, tasks[at]): at for at in left}
                yield from self._take(futures, tasks, lost)
            left = lost
            if not left:
                return
        raise IfdError(
            f"{len(left)} tasks lost their worker {_ATTEMPTS} times, the first is "
            f"{tasks[left[0]]}. Is there memory enough for {self._workers} workers?"
        )

    def _take(
        self, futures: dict[Future[Found], int], tasks: Sequence[Task], lost: list[int]
    ) -> Iterator[tuple[Task, Found]]:
        try:
            for future in as_completed(futures):
                try:
                    found = future.result()
                except BrokenProcessPool:
                    lost.append(futures[future])
                    continue
                yield tasks[futures[future]], found
        finally:
            for future in futures:
                future.cancel()

    @contextmanager
    def _executor(self, tasks: int) -> Iterator[Executor]:
        if self._cluster is None:
            context = multiprocessing.get_context("spawn")
            count = max(1, min(self._workers, tasks))
            with ProcessPoolExecutor(count, mp_context=context) as pool:
                yield pool
            return
        with _dask(self._cluster) as executor:
            yield executor


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError:
        raise UsageError(
            "`--cluster` needs Dask: pip install 'ifd-fast[cluster]', here and on the workers."
        ) from None
    try:
        client: Any = Client(address, timeout=10)  # type: ignore[no-untyped-call]  # Dask has none
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(f"`--cluster {address}`: no scheduler answers there ({error}).") from None
    with client, client.get_executor(pure=False, retries=_ATTEMPTS - 1) as executor:
        yield executor
