"""Tasks on a Dask cluster: this machine's, or one that was started elsewhere, as by dask-jobqueue."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from neurobench_grasp.contract import Progress
from neurobench_grasp.errors import NgbError
from neurobench_grasp.run.executors.local import fetch_here
from neurobench_grasp.run.executors.watch import Left, Watch
from neurobench_grasp.run.grid import DONE, FAILED, WAITING, Grid, State
from neurobench_grasp.run.work import POLL_S, Benches, perform
from neurobench_grasp.run.workspace import Workspace
from neurobench_grasp.threads import CORES, usable_cores

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"
ONE_AT_A_TIME = threading.Lock()
"""Of the tasks in one process: they share a workspace and all its cores."""


@dataclass(frozen=True)
class Dask:
    """Performs each task as one call on a worker of a Dask cluster; names are looked up there.

    What Dask sends are paths and numbers. Workers must see the run folder and the cache.

    Parameters
    ----------
    address : str
        Of the scheduler, as ``tcp://host:8786``; ``local`` starts one process for each usable core here.
    cancel : bool
        When interrupted, cancel what is running on a cluster that was started elsewhere.
    """

    address: str
    cancel: bool = False

    def run(self, grid: Grid, workspace: Workspace) -> Mapping[int, BaseException]:
        """Perform all tasks."""
        out = str(workspace.folder.resolve())
        with self._client() as client:
            failures = fetch_here(grid, workspace)
            try:
                _submit_all(client, grid, out, workspace)
            except KeyboardInterrupt as error:
                if self.address == LOCAL:
                    raise
                if self.cancel:
                    busy = client.processing()  # type: ignore[no-untyped-call]
                    client.restart_workers([worker for worker, keys in busy.items() if keys])
                    raise
                raise Left(f"what has begun on {self.address} goes on") from error
        return failures

    @contextmanager
    def _client(self) -> Iterator[Client]:
        try:
            from distributed import Client, LocalCluster
        except ImportError as error:
            raise NgbError(
                "Dask is not installed; run `pip install neurobench-grasp[dask]`, or use --on local:N."
            ) from error
        for name in ("distributed", "tornado", "asyncio"):  # a lost connection is reported here, once
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        if self.address == LOCAL:
            with (
                LocalCluster(  # type: ignore[no-untyped-call]
                    n_workers=usable_cores(),
                    threads_per_worker=1,
                    memory_limit=0,
                    dashboard_address=None,
                    silence_logs=50,
                ) as cluster,
                Client(cluster) as client,  # type: ignore[no-untyped-call]
            ):
                yield client
            return
        try:
            client = Client(self.address, timeout="10s")  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise NgbError(
                f"There is no Dask scheduler at {self.address} ({error}); start one with "
                "`dask scheduler`, and workers with `dask worker`."
            ) from error
        with client:
            yield client


def _submit_all(client: Client, grid: Grid, out: str, workspace: Workspace) -> None:
    """Submit tasks as soon as they can begin, until all have ended."""
    ended: SimpleQueue[tuple[int, Any]] = SimpleQueue()
    running: dict[int, Any] = {}
    watch = Watch(grid, workspace.progress)
    while running or not grid.is_finished():
        for i in grid.ready():
            if i not in running:
                running[i] = client.submit(
                    attempt, str(grid.folder), out, i, grid.state(i).attempts, pure=False
                )
                running[i].add_done_callback(lambda future, i=i: ended.put((i, future)))
        for i, future in _next(ended):
            del running[i]
            _note(grid, i, future)
        if watch.report():
            _check(client, running, workspace.progress)


def _check(client: Client, running: Mapping[int, Any], progress: Progress) -> None:
    """Report a cluster without workers, and raise an error if its scheduler was lost: no future ends then."""
    if not client.scheduler_info()["workers"]:
        progress("the Dask cluster has no workers; start some with `dask worker`")
    if client.status != "running" or any(
        future.status in ("lost", "cancelled") for future in running.values()
    ):
        raise NgbError(
            "The connection to the Dask scheduler was lost; see that it and its workers run, then repeat the "
            "same command, which continues."
        )


def _next(ended: SimpleQueue[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Yield the tasks that have ended; after a moment, none."""
    try:
        yield ended.get(timeout=POLL_S)
        while True:
            yield ended.get_nowait()
    except Empty:
        return


def _note(grid: Grid, i: int, future: Any) -> None:
    """Note how a task ended on its worker; Dask gives up a task whose workers die again and again."""
    from distributed import CancelledError
    from distributed.scheduler import KilledWorker

    try:
        name, attempts = future.result()
    except (KilledWorker, CancelledError, OSError):
        grid.read_log()
        return
    except Exception as error:
        raise NgbError(
            f"Workers of the Dask cluster cannot perform tasks ({type(error).__name__}: {error}); install "
            "the same version of neurobench-grasp there, and mount the run folder at the same place."
        ) from error
    if name in (DONE, FAILED):
        grid.note(i, State(name, attempts))
    else:
        grid.read_log()


def attempt(folder: str, out: str, i: int, attempts: int) -> tuple[str, int]:
    """Perform a task; runs on a worker.

    Parameters
    ----------
    folder, out : str
        Of the grid, and of the run.
    i : int
        Number of the task.
    attempts : int
        Those that are known to have ended.

    Returns
    -------
    str, int
        Its state, and the number of attempts.
    """
    from distributed import get_worker

    with ONE_AT_A_TIME:
        os.environ[CORES] = str(get_worker().state.nthreads)
        grid, benches = _opened(folder, out)
        grid.note(i, State(attempts=attempts))
        begun = grid.begin(i) or (grid.begin(i) if grid.state(i).name == WAITING else None)
        if begun is not None:
            perform(begun, benches)
        state = grid.state(i)
        return state.name, state.attempts


_open: dict[str, tuple[Grid, Benches]] = {}
"""The last grid of this process of a worker."""


def _opened(folder: str, out: str) -> tuple[Grid, Benches]:
    """Return a grid, and where its tasks are performed; that of another run is closed."""
    if folder not in _open:
        for _, benches in _open.values():
            benches.close()
        _open.clear()
        _open[folder] = Grid.read(Path(folder)), Benches(Path(out))
    return _open[folder]
