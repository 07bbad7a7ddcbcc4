"""What a job stands for: the model, what it is scored on, what it was fitted on, and the decoder."""

from __future__ import annotations

from dataclasses import dataclass, replace

import neurobench_grasp
from neurobench_grasp.alignment.overlap import refuse_repeats
from neurobench_grasp.contract import DecoderSpec, ModelSpec, Trials
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.plugins import CORE, CodeDigest, Provided, Registry, code_digest
from neurobench_grasp.run.dataset import Dataset
from neurobench_grasp.run.stored_activations import StoredActivations


@dataclass(frozen=True)
class Task:
    """A model and what it is scored on.

    Parameters
    ----------
    candidate : Provided of ModelSpec
    data : Dataset
    train : Trials
        What the model is fitted on.
    decoder : Provided of DecoderSpec
    learned : Dataset
        That of ``train``.
    code_digest : callable
        Identifies the code that the process has loaded.
    """

    candidate: Provided[ModelSpec]
    data: Dataset
    train: Trials
    decoder: Provided[DecoderSpec]
    learned: Dataset
    code_digest: CodeDigest = code_digest

    @classmethod
    def of(
        cls,
        registry: Registry,
        model: str,
        data: Dataset,
        learned: Dataset,
        decoder: str,
        stored: StoredActivations | None = None,
        *,
        digest: CodeDigest = code_digest,
    ) -> Task:
        """Find model and decoder by name, and what the model is fitted on.

        Parameters
        ----------
        registry : Registry
        model : str
            With stored activations a new name.
        data, learned : Dataset
            What is scored, and on whose training trials the model is fitted.
        decoder : str
        stored : StoredActivations, optional
            What is scored instead of a model.
        digest : callable

        Raises
        ------
        NgbError
            If a name is unknown, the model learned from what it is to be scored on, or it moves another body.
        """
        if learned.sha256 != data.sha256:
            _refuse_known_trials(data, learned)
            data = _frozen(data, learned)
        if stored is None:
            candidate = registry.model(model)
        else:
            if any(known.spec.name == model for known in registry.models()):
                raise NgbError(
                    f"There is a model {model} already; give these activations another name with --model."
                )
            candidate = Provided(stored.as_model(model), CORE, neurobench_grasp.__version__)
            data = data.with_notes(stored.notes)
        train = learned.behaviour("train", candidate.spec.step_s)
        refuse_other_bodies(candidate.spec, train, data, learned)
        return cls(candidate, data, train, registry.decoder(decoder), learned, digest)


def refuse_other_bodies(spec: ModelSpec, train: Trials, *datasets: Dataset) -> None:
    """Raise if joint angles are those of another body than the one that a model moves.

    Parameters
    ----------
    spec : ModelSpec
    train : Trials
        What the model is fitted on: a controller that names no body moves the body of these trials.
    *datasets : Dataset

    Raises
    ------
    UnsupportedError
        The message names both bodies.
    """
    body = spec.body or (train.body if spec.controller else None)
    for session in (session for data in datasets for session in data.sessions):
        if body is not None and session.trials.body not in (body, None):
            raise UnsupportedError(
                f"{spec.name} moves the body {body!r}, and the joint angles of {session.id} are those of "
                f"{session.trials.body!r}; choose another model or another dataset."
            )


def _refuse_known_trials(data: Dataset, learned: Dataset) -> None:
    """Raise if a model is to be scored on what it learned from."""
    held = {
        f"the training trials of {learned.id}": _fingerprints(learned, "train"),
        f"the held-out trials of {data.id}": _fingerprints(data, "test", "ood"),
    }
    refuse_repeats(held, "choose another dataset with --trained-on, or leave it out")


def _fingerprints(data: Dataset, *splits: str) -> dict[str, str]:
    """Return the fingerprint of each trial of some splits."""
    return {
        f"{session.id} {trial}": session.fingerprints.get(trial, "")
        for session in data.sessions
        for split in splits
        for trial in getattr(data.splits, split)[session.id]
    }


def _frozen(data: Dataset, learned: Dataset) -> Dataset:
    """Dataset for a model that another trained; notes which held-out conditions are not new to the model.

    Each dataset holds out a fifth of its conditions, so one may train on what the other holds out.
    """
    known = sorted(set(data.splits.held_out) & set(learned.behaviour("train").condition))
    note = (
        f"{len(known)} of {len(data.splits.held_out)} held-out conditions are named like training conditions "
        f"of {learned.id}, so ood is not new to the model: {', '.join(known)}"
    )
    sessions = tuple(replace(s, notes=(note, *s.notes)) if known else s for s in data.sessions)
    return replace(data, trained_on=learned.id, trained_on_sha256=learned.sha256, sessions=sessions)
