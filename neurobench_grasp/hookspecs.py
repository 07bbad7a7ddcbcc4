"""The hooks that a plugin can implement.

A plugin is a module (or object) with functions marked ``@hookimpl``, named in the entry-point group
``neurobench_grasp`` of its distribution::

    [project.entry-points.neurobench_grasp]
    my_model = "my_package.my_module"

Each hook yields frozen data; yielding must be cheap, so import heavy libraries inside ``build``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from neurobench_grasp.contract import BodySpec, DatasetSpec, DecoderSpec, ModelSpec, ProtocolSpec

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
    >>> import numpy as np
    >>> from neurobench_grasp import DecodedTrials, DecoderSpec, Ragged, hookimpl
    >>> def with_one(bins):
    ...     return np.insert(bins.astype(float), 0, 1, axis=1)
    >>> class NewestBin:
    ...     def fit(self, train):
    ...         bins = np.concatenate([trial[train.lead:] for trial in train.counts])
    ...         self.weights = np.linalg.lstsq(with_one(bins), train.commands.values)[0]
    ...     def reset(self, n_trials): ...
    ...     def observe(self, spikes):
    ...         return with_one(spikes) @ self.weights
    >>> @hookimpl
    ... def ngb_decoders():
    ...     yield DecoderSpec("newest_bin", build=NewestBin, summary="least squares on the newest bin")

    It learns from one trial of three commands, with one bin before the first of them:

    >>> counts, commands = np.array([[7], [0], [1], [2]]), np.array([[0.5], [1.5], [2.5]])
    >>> (spec,) = ngb_decoders()
    >>> decoder = spec.build()
    >>> decoder.fit(DecodedTrials(Ragged.of([counts]), Ragged.of([commands]), ("cup",), dt=0.02))
    >>> decoder.reset(n_trials=2)
    >>> decoder.observe(np.array([[0], [4]])).round(6)
    array([[0.5],
           [4.5]])
    """


@hookspec
def ngb_bodies() -> Iterable[BodySpec]:  # type: ignore[empty-body]
    """Offer bodies that controllers move; layouts name the one of their joint angles.

    Examples
    --------
    >>> from neurobench_grasp import BodySpec, hookimpl
    >>> def build():
    ...     from neurobench_grasp.bodies.myohand import build_myohand  # MuJoCo; listing must stay fast
    ...     return build_myohand()
    >>> @hookimpl
    ... def ngb_bodies():
    ...     yield BodySpec("hand", build, summary="a hand", licence="Apache-2.0", source="MyoSuite 3.0.0")
    >>> (spec,) = ngb_bodies()
    >>> len(spec.build().joints)
    23
    """
