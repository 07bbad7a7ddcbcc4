"""Tasks of a score: what is fetched and trained first, and which job makes what others share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from neurobench_grasp.plugins import CORE, Registry, code_digest
from neurobench_grasp.run.dataset import is_path
from neurobench_grasp.run.grid import Task
from neurobench_grasp.run.job import Job, networks

FETCH, NETWORK, SCORE, TRAIN, VERIFY = "fetch", "network", "score", "train", "verify"


def tasks_of(jobs: Sequence[Job], registry: Registry) -> list[Task]:
    """Return the tasks of jobs: datasets are fetched once, networks are trained once, then jobs are scored.

    The first job of a network fits the model and keeps its activations; the first one by a protocol on a fold
    of a dataset keeps what does not depend on the model, such as references. Other jobs come after these two,
    since they would have to wait for them.
    """
    named = [name for job in jobs for name in (job.dataset, job.options.trained_on) if name is not None]
    tasks, fetched = fetches(name for name in named if not is_path(registry, name))
    firsts: dict[tuple[object, ...], int] = {}

    def add(kind: str, job: Job, needs: Sequence[int], after: Sequence[int] = ()) -> int:
        what = json.loads(job.to_line())
        tasks.append(Task(kind, what, tuple(dict.fromkeys(needs)), tuple(dict.fromkeys(after))))
        return len(tasks) - 1

    for group in networks(jobs):
        job = group[0]
        needs = [fetched[name] for name in (job.dataset, job.options.trained_on) if name in fetched]
        if job.options.train:
            needs.append(add(NETWORK, job, needs))
        for job in group:
            shared = [
                ("network", *job.network),
                ("fold", job.dataset, job.seed, job.protocol, job.options.layout),
            ]
            after = [firsts[key] for key in shared if key in firsts]
            i = add(SCORE, job, needs, after)
            for key in shared:
                firsts.setdefault(key, i)
    return tasks


def fetches(names: Iterable[str]) -> tuple[list[Task], dict[str, int]]:
    """Return the first tasks of a grid, which fetch datasets, each once, and their numbers by name."""
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return [Task(FETCH, {"dataset": name}) for name in numbers], numbers


def job_of(task: Task) -> Job:
    """Return the job of a task of the kinds ``network`` and ``score``."""
    return Job.from_line(json.dumps(task.what), "The task")


def label(task: Task) -> str:
    """Return what a task is about, for people."""
    what = task.what
    model = f"{what['model']} (seed {what['seed']})" if "model" in what else task.kind
    place = os.path.basename(str(what.get("dataset") or what.get("path", "")).rstrip("/"))
    return " ".join(
        filter(None, (model, f"by {what['protocol']}" if task.kind == SCORE else "", f"on {place}"))
    )


def code_versions(models: Sequence[str], places: Sequence[str], registry: Registry) -> list[str | None]:
    """Return what identifies code and files that results depend on; ``None`` for code that is unknown.

    The code is that of the package, of the models, and of all plugins with protocols, decoders and datasets.
    """
    known = {provided.spec.name: provided for provided in registry.models()}
    digests = [known[name].code_digest() for name in dict.fromkeys(models) if name in known]
    others = [provided.distribution for provided in registry.protocols()]
    others += [provided.distribution for provided in registry.decoders()]
    others += [provided.distribution for provided in registry.datasets()]
    digests += [code_digest(name) for name in dict.fromkeys(others)]
    files = [_version(Path(place)) for place in dict.fromkeys(places) if Path(place).exists()]
    return [code_digest(CORE), *digests, *files]


def _version(path: Path) -> str:
    """Return what changes when a file, or a file of a folder, is edited."""
    files = [path, *sorted(path.iterdir())] if path.is_dir() else [path]
    return " ".join(f"{file.name} {(s := file.stat()).st_mtime_ns} {s.st_size}" for file in files)
