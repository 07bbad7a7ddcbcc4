"""What the hooks of a plugin yield: models, datasets, protocols and decoders, as frozen data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neurobench_grasp.contract.card import ModelCard
from neurobench_grasp.contract.data import Trials
from neurobench_grasp.contract.decoder import Decoder
from neurobench_grasp.contract.model import Model


@dataclass(frozen=True)
class ModelSpec:
    """A candidate model, as a plugin offers it.

    Parameters
    ----------
    name : str
        Lower case, ``[a-z0-9_]``.
    build : callable
        ``build(seed)`` returns an unfitted :class:`Model`; import heavy libraries in it. The settings in
        ``smoke`` are passed by keyword: ``build(seed, **smoke)``.
    summary : str
        One line for ``ngb models``.
    card : ModelCard, optional
        What it is and what it learned from; a model without one can be scored, but not submitted.
    smoke : mapping
        Settings of ``build`` for a model that fits and runs in seconds and needs no weight files; used by
        ``ngb check``.
    controller : bool
        True if ``build`` returns a ``Controller``, which can be scored for tracking too.
    depends_on : callable, optional
        ``depends_on(seed, train)`` identifies what else the fitted model depends on, such as the digest of a
        weight file; required where that is not in the plugin's code, so that no stale score is reused.
    step_s : float, optional
        Seconds between two steps of the model, whole microseconds. It receives behaviour on this grid, and
        its activations are averaged over the bins of a recording. ``None``: it runs on the bins.
    seeded : bool
        False if the fitted model is the same for every seed, so that nothing is said about how its networks
        differ.
    body : str, optional
        Name of the body that it moves, if it moves only that one. ``ngb check`` tries it on movements of this
        body, and movements of another are not scored. ``None``: it moves the body of the trials.
    tendons : str, optional
        Other tendons of the body's muscles that it moves, such as ``permuted-{seed}``, with the seed of the
        network; see ``ngb bodies``. Where recorded axes are turned to fit EMG, they are fitted for these.
    """

    name: str
    build: Callable[..., Model]
    summary: str
    card: ModelCard | None = None
    smoke: Mapping[str, Any] = field(default_factory=dict)
    controller: bool = False
    depends_on: Callable[[int, Trials], str] | None = None
    step_s: float | None = None
    seeded: bool = True
    body: str | None = None
    tendons: str | None = None

    def __post_init__(self) -> None:
        if self.step_s is None:
            return
        ticks = self.step_s * 1e6
        if not (1 <= ticks < 1e9 and abs(ticks - round(ticks)) < 1e-3):
            raise ValueError(f"step_s is {self.step_s!r}; give whole microseconds, in seconds")


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset, as a plugin offers it.

    Parameters
    ----------
    name : str
    files : callable
        ``files()`` returns the paths of its NWB files, making or fetching them if need be.
    layout : str, optional
        Name of the layout of its files; ``None`` lets the best fit decide.
    summary : str
        One line for ``ngb datasets``.
    licence : str
    synthetic : bool
    details : mapping
        Further fields of ``ngb datasets --json``: areas, protocols it supports …; listings mark datasets
        whose ``unverified`` is true.
    """

    name: str
    files: Callable[[], Sequence[Any]]
    summary: str
    layout: str | None = None
    licence: str = "unknown"
    synthetic: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ProtocolSpec:
    """A scoring protocol, as a plugin offers it.

    Parameters
    ----------
    name : str
    version : int
    run : callable
        ``run(context)`` returns ``Scores``; see ``neurobench_grasp.protocols``.
    summary : str
        One line for ``ngb protocols``.
    settings : mapping
        Every constant of the protocol; part of each record.
    decodes : bool
        True if it uses ``context.decoder``; the decoder's name and provider are then among the settings.
    """

    name: str
    version: int
    run: Callable[..., Any]
    summary: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    decodes: bool = False


@dataclass(frozen=True)
class DecoderSpec:
    """A decoder from spikes to a command, as a plugin offers it.

    Parameters
    ----------
    name : str
    build : callable
        ``build()`` returns an unfitted :class:`Decoder`.
    summary : str
        One line for ``ngb decoders``.
    """

    name: str
    build: Callable[[], Decoder]
    summary: str
