"""``ngb bodies``: the bodies that controllers move, and what their joints are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from neurobench_grasp.cli.listing import listing
from neurobench_grasp.cli.terminal import Json, Result, note, progress, table
from neurobench_grasp.errors import NgbError


def bodies(
    name: Annotated[str | None, typer.Argument(help="Print the joints, muscles, keypoints of one.")] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Write a page about all bodies, with pictures, to a folder."),
    ] = None,
    as_json: Json = False,
) -> Result:
    """List the bodies that controllers move, or the joints, muscles and keypoints of one."""
    from neurobench_grasp.plugins import load_registry

    registry = load_registry()
    if name is not None:
        if to is not None:
            raise typer.BadParameter("writes all bodies; leave out the name", param_hint="--to")
        return _one(name)
    return _all(registry.bodies()) if to is None else _page(registry.bodies(), to)


def _one(name: str) -> Result:
    from neurobench_grasp.bodies import find_body
    from neurobench_grasp.plots.body_sheet import body_tables

    tables = body_tables(find_body(name))
    data = {
        kind: [dict(zip(head, row, strict=True)) for row in rows] for kind, (head, *rows) in tables.items()
    }
    return Result(data, [part for head, *rows in tables.values() for part in (table(*head, rows=rows), "")])


def _all(found: Sequence[Any]) -> Result:
    listed = listing("body", found, "licence", "source")
    names = [_names_in(p) for p in found]
    rows = [
        (
            p.spec.name,
            *(str(len(some)) if some else "–" for some in parts.values()),
            p.spec.licence,
            p.spec.source,
        )
        for p, parts in zip(found, names, strict=True)
    ]
    sizes = ("joints", "muscles", "keypoints")
    view = [table("body", *sizes, "licence", "source", rows=rows, numbers=sizes)]
    return Result([row | parts for row, parts in zip(listed.data, names, strict=True)], view)


def _page(found: Sequence[Any], folder: Path) -> Result:
    from neurobench_grasp.atomic import write_atomically
    from neurobench_grasp.plots.body_sheet import body_page, joint_pictures

    drawn = [p.spec for p in found if not p.spec.fetch and _built(p) is not None]
    files = {folder / "bodies.md": body_page([*drawn, *(p.spec for p in found if p.spec.fetch)]).encode()}
    with progress() as report:
        for spec in drawn:
            report(f"pictures of {spec.name}")
            files[folder / "images" / f"{spec.name}.png"] = joint_pictures(spec.build())
    for path, content in files.items():
        write_atomically(path, content, advice="choose another folder with --to")
    return Result([str(path) for path in files], [f"written: {path}" for path in files])


def _names_in(provided: Any) -> dict[str, Sequence[str]]:
    """Return the names of a body's joints, muscles and keypoints; none if it cannot be built."""
    body = _built(provided)
    return {kind: getattr(body, kind, ()) for kind in ("joints", "muscles", "keypoints")}


def _built(provided: Any) -> Any:
    """Return a body; if it cannot be built, show why and return none."""
    from neurobench_grasp.plugins import reason_of

    try:
        return provided.spec.build()
    except NgbError as error:
        note(str(error))
    except Exception as error:  # whatever a plugin raises must not stop the listing
        note(f"The body {provided.spec.name} ({provided.provider}) cannot be built: {reason_of(error)}.")
    return None
