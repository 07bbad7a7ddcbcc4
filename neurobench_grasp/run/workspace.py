"""What the jobs of one command share: datasets that were read, and the network that was fitted last."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from neurobench_grasp.contract import Progress
from neurobench_grasp.plugins import Registry
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.run.dataset import Dataset, load_dataset
from neurobench_grasp.run.fitted import make_context
from neurobench_grasp.run.job import DEFAULTS, Job, Options
from neurobench_grasp.run.stages import StageFolder, shared_folder
from neurobench_grasp.run.task import Task


@dataclass
class Workspace:
    """Where jobs are run.

    Parameters
    ----------
    registry : Registry
        Where names are looked up.
    out : path
        Run folder; created when it is first needed.
    progress : callable
        Called with one-line status messages.
    """

    registry: Registry
    out: Path
    progress: Progress = lambda text: None
    _datasets: dict[tuple[str | Path, str | None, bool], Dataset] = field(default_factory=dict)
    _task: tuple[tuple[object, ...], Task] | None = None
    _context: tuple[tuple[object, ...], Context] | None = None

    def stages(self) -> StageFolder:
        """Return the run folder's stages.

        Raises
        ------
        NgbError
            If the folder cannot be written to.
        """
        return StageFolder(self.out / "stages")

    def task(self, job: Job) -> Task:
        """Return what a job stands for; kept until a job of another model or dataset asks."""
        return self.find(job.model, job.dataset, job.options)

    def find(self, model: str, dataset: str | Path, options: Options = DEFAULTS) -> Task:
        """Return a model and what it is scored on.

        Raises
        ------
        NgbError
            If something cannot be found or read.
        """
        key = (model, dataset, options)
        if self._task is None or self._task[0] != key:
            if options.activations is None:  # an unknown name is reported before anything is read
                self.registry.model(model)
            data = self._dataset(dataset, options.layout, options.quarantine)
            learned = data
            if options.trained_on is not None:
                learned = self._dataset(options.trained_on, None, options.quarantine)
            self._task = key, Task.of(self.registry, model, data, learned, options)
        return self._task[1]

    def context(self, job: Job) -> Context:
        """Return one network as protocols receive it; kept until a job of another network asks."""
        if self._context is None or self._context[0] != job.network:
            own = self.stages()
            context = make_context(self.task(job), job.seed, own, shared_folder(own), self.progress)
            self._context = job.network, context
        return self._context[1]

    def _dataset(self, name: str | Path, layout: str | None, quarantine: bool) -> Dataset:
        key = (name, layout, quarantine)
        if key not in self._datasets:
            self._datasets[key] = load_dataset(
                self.registry, name, layout, self.progress, quarantine=quarantine
            )
        return self._datasets[key]
