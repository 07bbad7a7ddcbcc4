"""Which jobs a score consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from neurobench_grasp.data.dandi import is_address
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.plugins import Registry
from neurobench_grasp.run.dataset import is_path
from neurobench_grasp.run.job import DEFAULTS, Job, Options
from neurobench_grasp.run.task import Task
from neurobench_grasp.run.workspace import Workspace

CURVES = "brain-control-curves"
CONTROLLER_PROTOCOLS = ("tracking", "encoding", "brain-control")


def plan(
    workspace: Workspace,
    model: str,
    dataset: str | Path,
    protocols: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    options: Options = DEFAULTS,
    *,
    curves: bool = False,
) -> list[Job]:
    """List the jobs of a score, network by network, so that consecutive jobs share what is read and fitted.

    The dataset is read only where protocols or seeds are not named, since it decides which of them apply.

    Parameters
    ----------
    workspace : Workspace
    model : str
        Name of a registered model; with ``options.activations`` a new name.
    dataset : str or path
        Name of a registered dataset, an NWB file, or an address.
    protocols : sequence of str
        By default ``tracking`` for a controller where joint angles were recorded, ``encoding`` where units
        were, and ``brain-control`` for a controller where both were.
    seeds : sequence of int, optional
        One network each. Default: one for each fold of the dataset's conditions or, where networks have to be
        trained (``ngb train``), the first.
    options : Options
        Paths in them are made absolute, so that jobs can be run from another folder.
    curves : bool
        Score ``brain-control-curves``, too.

    Raises
    ------
    NgbError
        If a name is unknown, or the dataset cannot be read.
    """
    registry = workspace.registry
    for protocol in protocols:
        registry.protocol(protocol)
    registry.decoder(options.decoder)
    if not is_path(registry, dataset) and not is_address(dataset):
        registry.dataset(str(dataset))
    if not is_trained(registry, model, options):
        if options.steps is not None:
            raise UnsupportedError(
                f"{model} is not trained by `ngb train`, so it has no steps; leave out --steps."
            )
        options = replace(options, train=False)
    if curves and (options.activations is not None or not registry.model(model).spec.controller):
        raise UnsupportedError(
            f"{model} moves no body, so it has no curves of brain control; leave out --curves."
        )
    place = str(Path(dataset).resolve()) if is_path(registry, dataset) else str(dataset)
    options = _absolute(options, workspace)
    wanted = list(protocols) or _applicable(workspace, workspace.find(model, place, options))
    wanted += [CURVES] if curves and CURVES not in wanted else []
    seeds = _networks(workspace, model, place, options) if seeds is None else seeds
    return [Job(model, place, protocol, seed, options) for seed in seeds for protocol in wanted]


def is_trained(registry: Registry, model: str, options: Options) -> bool:
    """Return whether a model depends on more than its code, such as networks that have to be trained."""
    return options.activations is None and registry.model(model).spec.depends_on is not None


def _absolute(options: Options, workspace: Workspace) -> Options:
    """Return options whose paths are absolute."""

    def absolute(name: str | None) -> str | None:
        return str(Path(name).resolve()) if name is not None and Path(name).exists() else name

    trained_on = options.trained_on
    if trained_on is not None and is_path(workspace.registry, trained_on):
        trained_on = absolute(trained_on)
    own = options.layout is not None and Path(options.layout).suffix in (".yaml", ".yml")
    return replace(
        options,
        layout=absolute(options.layout) if own else options.layout,
        trained_on=trained_on,
        activations=absolute(options.activations),
        isolated=tuple(absolute(source) or source for source in options.isolated),
    )


def _networks(workspace: Workspace, model: str, place: str, options: Options) -> Sequence[int]:
    """Return the seeds by which every fold is scored once; the first, if networks have to be trained."""
    if is_trained(workspace.registry, model, options):
        return (0,)
    return range(len(workspace.find(model, place, options).data.folds))


def _applicable(workspace: Workspace, task: Task) -> list[str]:
    """Return the protocols by which a model can be scored; encoding if none, since it reports why."""
    data = task.data
    if not task.candidate.spec.controller:
        return ["encoding"]
    if not data.has_joint_angles:
        still = next(s.id for s in data.sessions if s.trials.joint_angles is None)
        wanted, reason = ["encoding"], f"{still} has no joint angles of a body"
    elif not data.has_units:
        wanted, reason = ["tracking"], "no session has units"
    else:
        return list(CONTROLLER_PROTOCOLS)
    for name in CONTROLLER_PROTOCOLS:
        if name not in wanted:
            workspace.progress(f"{name} is left out: {reason}")
    return wanted
