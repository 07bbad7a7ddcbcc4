"""The whole flow: recordings in, a model's activations, scores, a record. Read this file first."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import neurobench_grasp
from neurobench_grasp.alignment.align import AlignedSession, align, what_scores_need
from neurobench_grasp.alignment.overlap import refuse_repeats
from neurobench_grasp.alignment.splits import Splits, make_splits
from neurobench_grasp.cache import cache_folder
from neurobench_grasp.contract import (
    Activations,
    Controller,
    DecoderSpec,
    Model,
    ModelSpec,
    Progress,
    ProtocolSpec,
    ScoreRecord,
    Scores,
    Trials,
    Twinned,
)
from neurobench_grasp.data import load_session
from neurobench_grasp.data.dandi import cached_files, is_address, source_of
from neurobench_grasp.data.quarantine import Quarantine
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.plugins import Provided, Registry, code_digest, load_registry
from neurobench_grasp.protocols.context import Context, Stage
from neurobench_grasp.protocols.encoding.predictions import PredictedSession
from neurobench_grasp.protocols.encoding.protocol import candidate_predictions
from neurobench_grasp.protocols.encoding.reduction import LagWindow, candidate_scores
from neurobench_grasp.records.provenance import provenance
from neurobench_grasp.records.record import pack_units, write_record
from neurobench_grasp.run.stages import Stages
from neurobench_grasp.run.stored_activations import StoredActivations

CORE = "neurobench-grasp"
CURVES = "brain-control-curves"


@dataclass(frozen=True)
class Dataset:
    """A dataset that is ready to be scored.

    Parameters
    ----------
    id, licence : str
    synthetic : bool
    sessions : tuple of AlignedSession
    splits : Splits
    trained_on, trained_on_sha256 : str, optional
        Dataset on which the model was fitted, if it is another one, and the digest of its content.
    source : tuple of dict
        Where each file came from, if it was fetched from an archive.
    """

    id: str
    licence: str
    synthetic: bool
    sessions: tuple[AlignedSession, ...]
    splits: Splits
    trained_on: str | None = None
    trained_on_sha256: str | None = None
    source: tuple[Mapping[str, Any], ...] = ()

    @property
    def sha256(self) -> str:
        """Digest over the content of all sessions."""
        return hashlib.sha256("".join(sorted(s.sha256 for s in self.sessions)).encode()).hexdigest()

    def behaviour(self, split: str) -> Trials:
        """Trials of a split in all sessions; a model is fitted on those of ``train``."""
        parts = []
        for session in self.sessions:
            wanted = set(getattr(self.splits, split)[session.id])
            parts.append(session.trials.select([i for i, t in enumerate(session.trials.ids) if t in wanted]))
        return Trials.join(parts)


@dataclass(frozen=True)
class Task:
    """A model and what it is scored on.

    Parameters
    ----------
    candidate : Provided of ModelSpec
    data : Dataset
        Its sessions are cut to what scores need.
    train : Trials
        What the model is fitted on.
    decoder : Provided of DecoderSpec
    """

    candidate: Provided[ModelSpec]
    data: Dataset
    train: Trials
    decoder: Provided[DecoderSpec]


def evaluate(
    model: str,
    dataset: str | Path,
    *,
    layout: str | Path | None = None,
    protocols: Sequence[str] = (),
    curves: bool = False,
    seeds: Sequence[int] = (0,),
    activations: str | Path | None = None,
    trained_on: str | Path | None = None,
    decoder: str = "ridge",
    quarantine: bool = False,
    registry: Registry | None = None,
    out: str | Path,
    progress: Progress = lambda text: None,
) -> list[ScoreRecord]:
    """Score a model on a dataset.

    Parameters
    ----------
    model : str
        Name of a registered model; with ``activations`` a new name, for the record.
    dataset : str or path
        Name of a registered dataset, or an NWB file.
    layout : str or path, optional
        Layout of the file; by default the registered dataset's own, or the one that fits best.
    protocols : sequence of str, optional
        By default ``tracking`` for a controller where joint angles were recorded, ``encoding`` where units
        were, and ``brain-control`` for a controller where both were.
    curves : bool
        Score ``brain-control-curves``, too.
    seeds : sequence of int
        One network each.
    activations : path, optional
        Activations that were computed elsewhere, see docs/arrays.md; they take the place of a model.
    trained_on : str or path, optional
        Dataset on whose training trials the model was fitted, if it is another one: the split ``session``.
        The model is frozen, and only the map to units is fitted on ``dataset``.
    decoder : str
        Name of a registered decoder, for protocols that decode.
    quarantine : bool
        Read files in a process of its own, with limits (:mod:`neurobench_grasp.data.quarantine`).
    registry : Registry, optional
        Where names are looked up. Default: what is installed; isolated models can be added to it
        (:meth:`neurobench_grasp.plugins.Registry.with_isolated`).
    out : path
        Run folder: finished stages are kept in it and found again, records go to ``out/records``.
    progress : callable
        Told in words what is being done.

    Returns
    -------
    list of ScoreRecord
        One per seed and protocol, each written as soon as it is complete.

    Raises
    ------
    NgbError
        If something the user can fix is wrong; the message says what.
    """
    registry = registry or load_registry()
    asked = [registry.protocol(name) for name in protocols]
    registry.decoder(decoder)
    if curves and (activations is not None or not registry.model(model).spec.controller):
        raise UnsupportedError(
            f"{model} moves no hand, so it has no curves of brain control; leave out --curves."
        )
    if activations is None:  # an unknown name is told before anything is written
        registry.model(model)
    Stages(Path(out) / "stages")  # nor is a folder that cannot be written to told after all the reading
    task = prepare(
        registry,
        model,
        dataset,
        layout=layout,
        activations=activations,
        trained_on=trained_on,
        decoder=decoder,
        quarantine=quarantine,
        progress=progress,
    )
    candidate, data = task.candidate, task.data
    wanted = asked or [registry.protocol(name) for name in _applicable(candidate.spec, data)]
    if candidate.spec.controller and not asked:
        _tell_what_is_left_out([p.spec.name for p in wanted], data, progress)
    if curves:
        wanted.append(registry.protocol(CURVES))
    return score_task(task, wanted, seeds, out=out, progress=progress)


def score_task(
    task: Task,
    protocols: Sequence[Provided[ProtocolSpec]],
    seeds: Sequence[int],
    *,
    out: str | Path,
    anew: bool = False,
    progress: Progress = lambda text: None,
) -> list[ScoreRecord]:
    """Score what was prepared, and write each record as soon as it is complete.

    Parameters
    ----------
    task : Task
    protocols : sequence of Provided of ProtocolSpec
    seeds : sequence of int
    out : path
        Run folder.
    anew : bool
        Take nothing from the user's cache of references, which runs share.
    progress : callable

    Returns
    -------
    list of ScoreRecord
        One per seed and protocol.
    """
    stages = Stages(Path(out) / "stages")
    candidate, data = task.candidate, task.data
    _store_splits(Path(out), data)
    records = []
    for seed in seeds:
        context, code = _context(task, seed, stages, progress)
        context = replace(context, shared_stage=stages) if anew else context
        weights = (context.model_key or {}).get("depends_on")
        for protocol in protocols:
            started = time.monotonic()
            described = _protocol(protocol.spec, task.decoder)
            scores = _scores(context, protocol, described, data)
            units = pack_units(scores.units)
            record = ScoreRecord(
                model=candidate.spec.name,
                seed=seed,
                dataset=_describe(data),
                protocol=described,
                scores=scores.rows,
                dropped=_dropped(data),
                provenance=provenance(
                    wall_time_s=time.monotonic() - started,
                    code=code,
                    weights=weights,
                    train=task.train.sha256,
                    units=units,
                    isolated=None if candidate.isolated is None else candidate.isolated.packages,
                ),
                card=None if candidate.spec.card is None else candidate.spec.card.to_json(),
            )
            write_record(Path(out) / "records", record, units)
            records.append(record)
    return records


def prepare(
    registry: Registry,
    model: str,
    dataset: str | Path,
    *,
    layout: str | Path | None = None,
    activations: str | Path | None = None,
    trained_on: str | Path | None = None,
    decoder: str = "ridge",
    quarantine: bool = False,
    progress: Progress = lambda text: None,
) -> Task:
    """Find the model and read what it is scored on; parameters as of :func:`evaluate`."""
    candidate = registry.model(model) if activations is None else None
    data = load_dataset(registry, dataset, layout, progress, quarantine=quarantine)
    learned = data
    if trained_on is not None:
        learned = load_dataset(registry, trained_on, None, progress, quarantine=quarantine)
        if learned.sha256 != data.sha256:
            _refuse_known_trials(data, learned)
            data = _frozen(data, learned)
    if activations is not None:
        candidate, data = _stored(registry, model, Path(activations), data)
    else:
        data = replace(data, sessions=tuple(map(what_scores_need, data.sessions)))
    assert candidate is not None
    return Task(candidate, data, learned.behaviour("train"), registry.decoder(decoder))


def _refuse_known_trials(data: Dataset, learned: Dataset) -> None:
    """Make sure that a model is not scored on what it learned from."""
    held = {
        f"the training trials of {learned.id}": _marks(learned, "train"),
        f"the held-out trials of {data.id}": _marks(data, "test", "ood"),
    }
    refuse_repeats(held, "choose another dataset with --trained-on, or leave it out")


def _marks(data: Dataset, *splits: str) -> dict[str, str]:
    """Give the fingerprint of each trial of some splits."""
    return {
        f"{session.id} {trial}": session.fingerprints.get(trial, "")
        for session in data.sessions
        for split in splits
        for trial in getattr(data.splits, split)[session.id]
    }


def _frozen(data: Dataset, learned: Dataset) -> Dataset:
    """Dataset for a model that another trained; notes which held-out conditions are not new to the model.

    Each dataset holds out a fifth of its own conditions, so that one may train what the other holds out.
    """
    known = sorted(set(data.splits.held_out) & set(learned.behaviour("train").condition))
    note = (
        f"{len(known)} of {len(data.splits.held_out)} held-out conditions are named like training conditions "
        f"of {learned.id}, so ood is not new to the model: {', '.join(known)}"
    )
    sessions = tuple(replace(s, notes=(note, *s.notes)) if known else s for s in data.sessions)
    return replace(data, trained_on=learned.id, trained_on_sha256=learned.sha256, sessions=sessions)


def scored_sessions(
    task: Task, seed: int, *, out: str | Path, progress: Progress = lambda text: None
) -> list[PredictedSession]:
    """Give the predictions of one network again: read from the run folder if they are there, else made.

    Raises
    ------
    NgbError
        If something the user can fix is wrong; the message says what.
    """
    context, _ = _context(task, seed, Stages(Path(out) / "stages"), progress)
    found = []
    for session in (s for s in context.sessions if s.units):
        progress(f"{session.id}: predictions of {len(session.units)} units")
        reach = LagWindow.of(context, session)
        scores = candidate_scores(context, reach)
        with threadpool_limits(limits=1):  # as in the protocol, for the same bits
            predictions = candidate_predictions(context, reach, scores)
        ood = tuple(context.index(session, context.splits.ood))
        found.append(PredictedSession(reach.cut, ood, predictions))
    return found


def context_of(task: Task, seed: int, *, progress: Progress = lambda text: None) -> Context:
    """Give one network as protocols receive it, to look at; nothing is kept on disk."""
    return _context(task, seed, lambda name, parts, make: make(), progress)[0]


def _stored(registry: Registry, name: str, path: Path, data: Dataset) -> tuple[Provided[ModelSpec], Dataset]:
    """Candidate whose activations are in a file, and the dataset with notes on what was filled in."""
    if any(known.spec.name == name for known in registry.models()):
        raise NgbError(f"There is a model {name} already; give these activations another name with --model.")
    stored = StoredActivations.read(path, data.sessions)
    sessions = tuple(
        replace(s, notes=(*s.notes, stored.notes[s.id])) if s.id in stored.notes else s for s in data.sessions
    )
    candidate = Provided(stored.as_model(name), CORE, neurobench_grasp.__version__)
    return candidate, replace(data, sessions=sessions)


def _applicable(spec: ModelSpec, data: Dataset) -> list[str]:
    """Protocols that this model can be scored by on this dataset; encoding if none, since it says why."""
    moves = spec.controller and all(s.trials.joint_angles is not None for s in data.sessions)
    units = any(s.units for s in data.sessions)
    if not moves:
        return ["encoding"]
    return ["tracking", "encoding", "brain-control"] if units else ["tracking"]


def _tell_what_is_left_out(wanted: Sequence[str], data: Dataset, progress: Progress) -> None:
    """Say which protocols of controllers this dataset cannot serve, and why."""
    still = next((s.id for s in data.sessions if s.trials.joint_angles is None), None)
    reason = "no session has units" if still is None else f"{still} has no joint angles of the hand"
    for name in ("tracking", "encoding", "brain-control"):
        if name not in wanted:
            progress(f"{name} is left out: {reason}")


def load_dataset(
    registry: Registry,
    name: str | Path,
    layout: str | Path | None = None,
    progress: Progress = lambda text: None,
    *,
    quarantine: bool = False,
) -> Dataset:
    """Read, align and split a registered dataset, an NWB file, or files of DANDI.

    Raises
    ------
    NgbError
        If there is no such dataset or file, or it cannot be read.
    """
    source: Sequence[Mapping[str, Any]] = ()
    if is_address(name):
        fetched = cached_files(str(name), progress=progress)
        files, layout_name, source = list(fetched.files), layout, fetched.source
        licence, dataset_id = fetched.found.licence, fetched.dataset_id
    elif _is_path(registry, name):
        path = Path(name)
        files, layout_name, licence, dataset_id = [path], layout, "as stated by its owner", path.stem
    else:
        spec = registry.dataset(str(name)).spec
        progress(f"dataset {spec.name}: files")
        files, layout_name, licence, dataset_id = (
            list(spec.files()),
            layout or spec.layout,
            spec.licence,
            spec.name,
        )
    read = Quarantine(tell=progress).load_session if quarantine else load_session
    sessions = []
    for file in files:
        progress(f"dataset {dataset_id}: reading {Path(file).name}")
        sessions.append(read(file, layout_name))
    aligned = tuple(align(s) for s in sessions)
    held = {str(file): s.fingerprints for file, s in zip(files, aligned, strict=True)}
    refuse_repeats(held, "leave one of the files out")
    ids = [s.id for s in sessions]
    if len(set(ids)) < len(ids):
        raise NgbError(
            f"Dataset {dataset_id} has two sessions of the same id ({', '.join(sorted(ids))}); rename one."
        )
    splits = make_splits({s.id: s.conditions for s in aligned}, {s.id: s.groups for s in aligned})
    aligned = tuple(_without_split(s, splits) for s in aligned)
    synthetic = any(s.synthetic for s in sessions)
    source = source or source_of([Path(file) for file in files])
    return Dataset(dataset_id, licence, synthetic, aligned, splits, source=tuple(source))


def _without_split(session: AlignedSession, splits: Splits) -> AlignedSession:
    """Name the trials that are in no split, because they share time with held-out ones."""
    used = {t for split in (splits.train, splits.test, splits.ood) for t in split[session.id]}
    left = [t for t in session.trials.ids if t not in used]
    reason = "shares scored time with a trial of a held-out condition, and so is in no split"
    return replace(session, dropped=(*session.dropped, *((t, reason) for t in left)))


def _is_path(registry: Registry, name: str | Path) -> bool:
    """Tell a path from a name; a registered name wins over a file of that name."""
    if isinstance(name, Path):
        return True
    if any(p.spec.name == name for p in registry.datasets()):
        return False
    return Path(name).exists() or "/" in name or "\\" in name or name.endswith(".nwb")


def _context(
    task: Task, seed: int, stages: Stage, progress: Progress
) -> tuple[Context, dict[str, str | None]]:
    """Put the model behind the contract: fitted at most once, and only when a stage needs it."""
    candidate, data, train = task.candidate, task.data, task.train
    code = {CORE: code_digest(CORE), candidate.distribution: candidate.code_digest}
    key: dict[str, Any] = {
        "model": candidate.spec.name,
        "code": code[candidate.distribution],
        "seed": seed,
        "train": train.sha256,
    }
    if candidate.isolated is not None:
        key["packages"] = dict(candidate.isolated.packages)
    if candidate.spec.depends_on is not None:
        key["depends_on"] = candidate.spec.depends_on(seed, train)
    if None in code.values():
        progress(
            f"the code of {candidate.provider} cannot be identified, so nothing is kept for the next run"
        )
    known = None if None in code.values() else key

    @functools.cache
    def fitted() -> Model:
        def fit() -> dict[str, Any]:
            progress(f"fitting {candidate.spec.name} (seed {seed}) on {len(train)} trials")
            model = candidate.spec.build(seed)
            model.fit(train, seed=seed)
            return dict(model.state())

        state = stages("fit", known and {**known, "core": code[CORE]}, fit)
        model = candidate.spec.build(seed)
        model.restore(state)
        return model

    def activations(trials: Trials) -> Activations:
        return fitted().activations(trials)

    def controller() -> Controller:
        model = fitted()
        if not isinstance(model, Controller):
            raise NgbError(
                f"{candidate.provider} says that {candidate.spec.name} is a controller, but it lacks one of "
                "track, embed, observe and activations_of; add them or drop `controller=True`."
            )
        return model

    @functools.cache
    def twin() -> Controller:
        model = fitted()
        if not isinstance(model, Twinned):
            raise UnsupportedError("the model does not offer its network before training")
        return model.untrained(seed=seed)

    moves = candidate.spec.controller
    context = Context(
        sessions=data.sessions,
        splits=data.splits,
        activations=activations,
        track=(lambda trials: controller().track(trials)) if moves else None,
        drive=(lambda trials, goal: controller().track(trials, goal=goal)) if moves else None,
        embed=(lambda trials: controller().embed(trials)) if moves else None,
        observe=(lambda trials: controller().observe(trials)) if moves else None,
        untrained=(lambda seen: twin().activations_of(seen)) if moves else None,
        model_key=known,
        decoder=task.decoder.spec,
        decoder_key=_decoder_key(task.decoder),
        core=code[CORE],
        stage=stages,
        shared_stage=_shared_stages(stages),
        seed=seed,
        progress=progress,
    )
    return context, code


def _decoder_key(decoder: Provided[DecoderSpec]) -> dict[str, str] | None:
    """Name what identifies a decoder; ``None`` if it cannot be identified."""
    code = code_digest(decoder.distribution)
    return None if code is None else {"decoder": decoder.spec.name, "code": code}


def _shared_stages(own: Stage) -> Stage:
    """Stages without a model are kept in the user's cache, for all run folders, if it can be written to."""
    try:
        return Stages(cache_folder() / "references")
    except NgbError:
        return own


def _scores(
    context: Context, protocol: Provided[ProtocolSpec], described: Mapping[str, Any], data: Dataset
) -> Scores:
    """Run a protocol; its scores are kept as the last stage, so that an unchanged score is only read."""

    def make() -> dict[str, Any]:
        scores = protocol.spec.run(context)
        if not isinstance(scores, Scores):
            raise NgbError(
                f"{protocol.provider} gives a {type(scores).__name__} as the result of the protocol "
                f"{protocol.spec.name}; it must give neurobench_grasp.Scores(rows)."
            )
        return {**scores.units, "rows": np.array(json.dumps(list(scores.rows)))}

    key_of = context.decoder_stage_key if protocol.spec.decodes else context.key
    parts = key_of(
        stage="score",
        protocol=described,
        provider=code_digest(protocol.distribution),
        data=data.sha256,
        splits=data.splits.sha256,
        trained_on=data.trained_on_sha256,
    )
    arrays = dict(context.stage("score", parts, make))
    return Scores(json.loads(str(arrays.pop("rows"))), arrays)


def _store_splits(out: Path, data: Dataset) -> None:
    """Keep the split beside the records: which trial was train, test or ood is part of the result."""
    folder = out / "splits"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{data.splits.sha256[:16]}.json"
        temporary.write_text(data.splits.as_json())
        temporary.replace(folder / f"{data.splits.sha256[:16]}.json")
    except OSError as error:
        raise NgbError(
            f"Cannot write to {folder} ({error.strerror}); choose another folder with --out."
        ) from error


def _describe(data: Dataset) -> dict[str, Any]:
    return {
        **(
            {"trained_on": data.trained_on, "trained_on_sha256": data.trained_on_sha256}
            if data.trained_on
            else {}
        ),
        **({"source": list(data.source)} if data.source else {}),
        "id": data.id,
        "sha256": data.sha256,
        "splits": data.splits.sha256,
        "synthetic": data.synthetic,
        "licence": data.licence,
        "held_out_conditions": list(data.splits.held_out),
        "sessions": [{"id": s.id, "subject": s.subject, "sha256": s.sha256} for s in data.sessions],
    }


def _protocol(spec: ProtocolSpec, decoder: Provided[DecoderSpec]) -> dict[str, Any]:
    settings = dict(spec.settings)
    if spec.decodes:
        settings["decoder"] = f"{decoder.spec.name} ({decoder.provider})"
    return {"name": spec.name, "version": spec.version, "settings": json.loads(json.dumps(settings))}


def _dropped(data: Dataset) -> list[Mapping[str, Any]]:
    """List what was left out or changed, counted by reason."""
    rows: list[Mapping[str, Any]] = []
    for session in data.sessions:
        reasons = [why for _, why in session.dropped]
        for why in sorted(set(reasons)):
            trials = [t for t, w in session.dropped if w == why]
            rows.append(
                {"session": session.id, "what": "trials", "n": len(trials), "ids": trials, "reason": why}
            )
        rows += [{"session": session.id, "what": "note", "reason": note} for note in session.notes]
    return rows
