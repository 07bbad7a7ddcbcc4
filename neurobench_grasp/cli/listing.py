"""``ngb models | datasets | protocols | decoders | plugins``: installed components."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from neurobench_grasp.cli.terminal import Json, Result, note, table

if TYPE_CHECKING:
    from neurobench_grasp.contract import DatasetSpec


def models(as_json: Json = False) -> Result:
    """List the models that can be scored."""
    from neurobench_grasp.plugins import load_registry

    found = load_registry().models()
    listed = listing("model", found)
    cards = ({"card": p.spec.card and p.spec.card.to_json()} for p in found)
    return Result([row | card for row, card in zip(listed.data, cards, strict=True)], listed.view)


def datasets(as_json: Json = False) -> Result:
    """List the datasets on which models can be scored."""
    from neurobench_grasp.plugins import load_registry

    found = load_registry().datasets()
    listed = listing("dataset", found, "licence", "synthetic", "details")
    supports = [_supports(p.spec) for p in found]
    licences = [f"{p.spec.name}: {p.spec.licence}" for p in found]
    unverified = any(p.spec.details.get("unverified") for p in found)
    legend = ["", "unverified: described from published listings, not checked against the archive"]
    view = [*listed.view, *(legend if unverified else []), "", *_supports_view(found, supports)]
    data = [row | more for row, more in zip(listed.data, supports, strict=True)]
    return Result(data, [*view, "", "Licences", *licences])


def _supports(spec: DatasetSpec) -> dict[str, Any]:
    """Return the body of a dataset and its protocols, with the reason where one is not supported.

    Both follow from the layout; neither is known where that is chosen file by file.
    """
    from neurobench_grasp.data.catalogue import body_of_layout, protocols_of
    from neurobench_grasp.data.nwb.layout import load_layout

    if spec.layout is None:
        return {"body": None, "scores": {}}
    layout = load_layout(spec.layout)
    return {"body": body_of_layout(layout), "scores": spec.details.get("scores", protocols_of(layout))}


def _supports_view(found: Sequence[Any], supports: Sequence[dict[str, Any]]) -> list[Any]:
    """Return a table of bodies and protocols, and what its words mean."""
    from neurobench_grasp.plugins import load_registry

    installed = {p.spec.name for p in load_registry().bodies()}
    names = ("encoding", "tracking", "brain-control")
    rows = []
    for provided, more in zip(found, supports, strict=True):
        body = more["body"] or "–"
        known = more["body"] is None or body.partition("@")[0] in installed
        cells = (_short(more["scores"].get(name)) for name in names)
        rows.append((provided.spec.name, body if known else f"{body} (not installed)", *cells))
    return [
        table("dataset", "body", *names, rows=rows),
        "partial: a posture of some joints; own: with --activations only; reasons: ngb datasets --json",
    ]


def _short(answer: str | None) -> str:
    """Shorten whether a protocol is supported to one word."""
    if answer is None:
        return "–"
    if answer.startswith("yes"):
        return "partial" if "partial" in answer else "yes"
    return "own" if answer.startswith("with activations") else "no"


def protocols(as_json: Json = False) -> Result:
    """List the scoring protocols."""
    from neurobench_grasp.plugins import load_registry

    return listing("protocol", load_registry().protocols(), "version", "settings")


def decoders(as_json: Json = False) -> Result:
    """List the decoders for brain control."""
    from neurobench_grasp.plugins import load_registry

    return listing("decoder", load_registry().decoders())


def plugins(as_json: Json = False) -> Result:
    """List the installed plugins, broken ones with the reason."""
    from neurobench_grasp.plugins import load_registry

    found = load_registry().plugins()
    rows = [(p.name, f"{p.distribution} {p.version}", p.status, "\n".join(p.offers)) for p in found]
    reasons = [f"{p.name} ({p.distribution} {p.version}): {p.reason}" for p in found if p.reason]
    view = [table("plugin", "from", "status", "offers", rows=rows), *reasons]
    return Result([asdict(p) for p in found], view)


def listing(kind: str, provided: Sequence[Any], *fields: str) -> Result:
    """List name, summary and provider; ``fields`` are added to the JSON."""
    _note_problems()
    data = [
        {
            "name": p.spec.name,
            "summary": p.spec.summary,
            **{field: getattr(p.spec, field) for field in fields},
            "provider": {"distribution": p.distribution, "version": p.version},
        }
        for p in provided
    ]
    rows = [(p.spec.name, p.spec.summary + _label(p.spec), p.provider) for p in provided]
    return Result(data, [table(kind, "summary", "from", rows=rows)])


def _label(spec: Any) -> str:
    if getattr(spec, "synthetic", False):
        return " (synthetic self-test)"
    return " (unverified)" if getattr(spec, "details", {}).get("unverified") else ""


def _note_problems() -> None:
    from neurobench_grasp.plugins import load_registry

    count = Counter(p.status for p in load_registry().plugins())
    for status, what in (
        ("broken", "could not be loaded"),
        ("clash", "offer a name that another plugin offers, too"),
    ):
        if count[status]:
            note(f"{count[status]} plugin(s) {what}: see `ngb plugins`.")
