"""Every place where a plugin can join in.

A plugin is a module (or object) with functions marked ``@hookimpl``, named in the entry-point group
``neurobench_grasp`` of its distribution::

    [project.entry-points.neurobench_grasp]
    my_model = "my_package.my_module"

Each hook yields frozen data; yielding must be cheap, so import heavy libraries inside ``build``.
"""

from collections.abc import Iterable

import pluggy

from neurobench_grasp.types import DatasetSpec, DecoderSpec, ModelSpec, ProtocolSpec

PROJECT = "neurobench_grasp"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def ngb_models() -> Iterable[ModelSpec]:  # type: ignore[empty-body]
    """Offer candidate models.

    Examples
    --------
    >>> from neurobench_grasp import Activations, ModelSpec, Ragged, hookimpl
    >>> class Position:
    ...     def fit(self, train, *, seed): ...
    ...     def activations(self, trials):
    ...         return Activations({"angles": trials.joint_angles})
    ...     def state(self):
    ...         return {}
    ...     def restore(self, state): ...
    >>> @hookimpl
    ... def ngb_models():
    ...     yield ModelSpec("position", build=lambda seed: Position(), summary="joint angles as they are")
    >>> [spec.name for spec in ngb_models()]
    ['position']
    """


@hookspec
def ngb_datasets() -> Iterable[DatasetSpec]:  # type: ignore[empty-body]
    """Offer datasets: named sets of NWB files, each read through a layout.

    Examples
    --------
    >>> from neurobench_grasp import DatasetSpec, hookimpl
    >>> @hookimpl
    ... def ngb_datasets():
    ...     yield DatasetSpec("our_lab", files=lambda: ["/data/monday.nwb"], summary="two monkeys")
    >>> [spec.name for spec in ngb_datasets()]
    ['our_lab']
    """


@hookspec
def ngb_protocols() -> Iterable[ProtocolSpec]:  # type: ignore[empty-body]
    """Offer scoring protocols.

    Examples
    --------
    >>> from neurobench_grasp import ProtocolSpec, Scores, hookimpl
    >>> def run(context):
    ...     n_trials = len(context.sessions[0].trials)
    ...     return Scores([{"metric": "n_trials", "split": "test", "value": n_trials}])
    >>> @hookimpl
    ... def ngb_protocols():
    ...     yield ProtocolSpec("count", version=1, run=run, summary="counts trials")
    >>> [spec.version for spec in ngb_protocols()]
    [1]
    """


@hookspec
def ngb_decoders() -> Iterable[DecoderSpec]:  # type: ignore[empty-body]
    """Offer decoders from spikes to a command.

    Examples
    --------
    >>> from neurobench_grasp import DecoderSpec, hookimpl
    >>> @hookimpl
    ... def ngb_decoders():
    ...     yield DecoderSpec("zero", build=lambda: None, summary="always rests")
    >>> [spec.name for spec in ngb_decoders()]
    ['zero']
    """
