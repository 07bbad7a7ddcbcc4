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
        ``build(seed)`` gives an unfitted :class:`Model`; heavy imports belong in here. It takes the settings
        in ``smoke`` by keyword, too: ``build(seed, **smoke)``.
    summary : str
        One line for ``ngb models``.
    card : ModelCard, optional
        What it is and what it learned from; a model without one can be scored, but not submitted.
    smoke : mapping
        Settings of ``build`` that make a model which fits and runs in seconds and needs no file of weights:
        the one that ``ngb check`` looks at.
    controller : bool
        True if ``build`` gives a :class:`Controller`, which can be scored for tracking too.
    depends_on : callable, optional
        ``depends_on(seed, train)`` names what else the fitted model depends on, such as the digest of a
        file of weights; needed where that is not in the plugin's code, so that no stale score is kept.
    """

    name: str
    build: Callable[..., Model]
    summary: str
    card: ModelCard | None = None
    smoke: Mapping[str, Any] = field(default_factory=dict)
    controller: bool = False
    depends_on: Callable[[int, Trials], str] | None = None


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset, as a plugin offers it.

    Parameters
    ----------
    name : str
    files : callable
        ``files()`` gives the paths of its NWB files, making or fetching them if need be.
    layout : str, optional
        Name of the layout of its files; ``None`` lets the best fit decide.
    summary : str
        One line for ``ngb datasets``.
    licence : str
    synthetic : bool
    details : mapping
        What ``ngb datasets --json`` tells beside: areas, what it can be scored on …; where ``unverified`` is
        true in it, listings say so.
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
        ``run(context)`` gives :class:`Scores`; see ``neurobench_grasp.protocols``.
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
        ``build()`` gives an unfitted :class:`Decoder`.
    summary : str
        One line for ``ngb decoders``.
    """

    name: str
    build: Callable[[], Decoder]
    summary: str
