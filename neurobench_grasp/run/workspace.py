"""What the jobs of one command share: datasets that were read, and the network that was fitted last."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from neurobench_grasp.contract import Progress
from neurobench_grasp.plugins import CodeDigest, Registry, code_digest
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.run.dataset import Dataset, load_dataset
from neurobench_grasp.run.fitted import make_context
from neurobench_grasp.run.job import DEFAULTS, Job, Options
from neurobench_grasp.run.missing import train_if_missing
from neurobench_grasp.run.stages import StageFolder, shared_folder
from neurobench_grasp.run.stored_activations import StoredActivations
from neurobench_grasp.run.task import Task

MOST_DATASETS = 4
"""Kept in memory: the scored one and the one that trained, of two tasks in turn."""


@dataclass
class Workspace:
    """Where jobs are run.

    Parameters
    ----------
    registry : Registry
        Where names are looked up.
    out : path, optional
        Run folder, needed for scoring; created when it is first needed.
    progress : callable
        Called with one-line status messages.
    """

    registry: Registry
    out: Path | None = None
    progress: Progress = lambda text: None
    _datasets: dict[tuple[str | Path, str | None, bool], Dataset] = field(default_factory=dict)
    _activations: dict[tuple[object, ...], StoredActivations] = field(default_factory=dict)
    _digest: CodeDigest = field(default_factory=lambda: cache(code_digest))  # the code is loaded once, too
    _task: tuple[tuple[object, ...], Task] | None = None
    _context: tuple[tuple[object, ...], Context] | None = None

    @property
    def folder(self) -> Path:
        """The run folder."""
        assert self.out is not None, "only planning works without a run folder"
        return self.out

    def stages(self) -> StageFolder:
        """Return the run folder's stages.

        Raises
        ------
        NgbError
            If the folder cannot be written to.
        """
        return StageFolder(self.folder / "stages", self.progress)

    def task(self, job: Job) -> Task:
        """Return what a job stands for; kept until a job of another model or dataset asks."""
        return self.find(job.model, job.dataset, job.options, job.seed)

    def find(self, model: str, dataset: str | Path, options: Options = DEFAULTS, seed: int = 0) -> Task:
        """Return a model and what one of its networks is scored on: the fold of its seed.

        Raises
        ------
        NgbError
            If something cannot be found or read.
        """
        key = (model, dataset, options, seed)
        if self._task is None or self._task[0] != key:
            tendons = None
            if options.activations is None:  # an unknown name is reported before anything is read
                tendons = self.registry.model(model).spec.tendons
            self.registry.decoder(options.decoder)
            if self.out is not None:  # nor is a folder that cannot be written to
                self.stages()
            read = self._dataset(dataset, options.layout, options.quarantine)
            data = learned = read.for_network(seed, tendons)
            if options.trained_on is not None:
                read = self._dataset(options.trained_on, None, options.quarantine)
                learned = read.for_network(seed, tendons)
            stored = self._stored(dataset, data, options)
            task = Task.of(self.registry, model, data, learned, options.decoder, stored, digest=self._digest)
            self._task = key, task
        return self._task[1]

    def context(self, job: Job) -> Context:
        """Return one network as protocols receive it; kept until a job of another network asks."""
        if self._context is None or self._context[0] != job.network:
            own, task = self.stages(), self.task(job)
            if job.options.train:
                train_if_missing(
                    task, job.seed, self.registry, steps=job.options.steps, progress=self.progress
                )
            context = make_context(task, job.seed, own, shared_folder(own), self.progress)
            self._context = job.network, context
        return self._context[1]

    def _stored(self, dataset: str | Path, data: Dataset, options: Options) -> StoredActivations | None:
        """Return the activations of the options, if any; they are those of all trials, whatever the fold."""
        if options.activations is None:
            return None
        key = (dataset, options.layout, options.quarantine, options.activations)
        if key not in self._activations:
            self._activations[key] = StoredActivations.read(Path(options.activations), data.sessions)
        return self._activations[key]

    def _dataset(self, name: str | Path, layout: str | None, quarantine: bool) -> Dataset:
        key = (name, layout, quarantine)
        if key not in self._datasets:
            while len(self._datasets) >= MOST_DATASETS:
                del self._datasets[next(iter(self._datasets))]
            self._datasets[key] = load_dataset(
                self.registry, name, layout, self.progress, quarantine=quarantine
            )
        return self._datasets[key]
