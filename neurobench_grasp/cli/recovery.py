"""``ngb recovery``: test whether the benchmark can distinguish hypotheses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurobench_grasp.cli.executing import Cancel, On
from neurobench_grasp.cli.terminal import Json, Result, progress, table
from neurobench_grasp.run.job import RUNS

if TYPE_CHECKING:
    from rich.console import RenderableType

    from neurobench_grasp.recovery import Assigned, Comparison, Recovered, Share
    from neurobench_grasp.scoring.intervals import Summary


def recovery(
    teachers: Annotated[
        str, typer.Option("--teachers", help="What generates units, separated by commas.")
    ] = "muscle_ppo,torque_ppo,permuted_muscles,linear_kinematic",
    networks: Annotated[
        int, typer.Option("--networks", min=2, help="Networks of each candidate, seeds 0 … N-1.")
    ] = 5,
    teacher_seed: Annotated[
        list[int] | None,
        typer.Option(
            "--teacher-seed", min=0, help="Seed of a teacher's network; may be repeated (100, 101)."
        ),
    ] = None,
    units: Annotated[int, typer.Option("--units", min=2, help="Units of each session.")] = 120,
    sessions: Annotated[
        int, typer.Option("--sessions", min=1, help="Sessions of the dataset whose movements are used.")
    ] = 1,
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset",
            "-d",
            help="Movements of the teachers; or `mixed` or `mixed_memory`, whose units are of known kinds.",
        ),
    ] = "demo",
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder; an interrupted run resumes.")] = RUNS
    / "recovery",
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder for table and picture (default: the run folder).")
    ] = None,
    on: On = "local",
    cancel: Cancel = False,
    as_json: Json = False,
) -> Result:
    """Generate units from known models and test whether the benchmark identifies them (docs/recovery.md)."""
    from neurobench_grasp.recovery import TEACHER_SEEDS, assign, has_key, recover, rows, write_report
    from neurobench_grasp.run.executors import executor_of

    executor = executor_of(on, cancel=cancel)
    with progress() as status:
        status(f"dataset {dataset}: files")
        if has_key(dataset):
            assigned = assign(dataset, networks=networks, out=out, executor=executor, progress=status)
            return _with_key(dataset, assigned, to or out)
        found = recover(
            [name.strip() for name in teachers.split(",")],
            networks=networks,
            teacher_seeds=teacher_seed or TEACHER_SEEDS,
            n_units=units,
            n_sessions=sessions,
            dataset=dataset,
            out=out,
            executor=executor,
            progress=status,
        )
    data, picture = write_report(found, to or out)
    view = [part for one in found for part in _view(one)]
    files = f"picture: {picture}", f"its data: {data}"
    return Result(rows(found), [*view, *_distinguished(found), *_power(found), *files])


def _with_key(dataset: str, found: Assigned, folder: Path) -> Result:
    from neurobench_grasp.recovery import key_rows, write_key_report

    data = write_key_report(found, folder)
    return Result(key_rows(found), [*_key_view(dataset, found), f"its data: {data}"])


def _key_view(dataset: str, found: Assigned) -> Iterator[RenderableType]:
    yield f"{dataset}, synthetic self-test: kinds assigned to {len(found.units)} units, by the best candidate"
    rows = []
    for kind, counts in zip(found.all_kinds, found.confusion.tolist(), strict=True):
        right = _share(found.right(kind)) if kind in found.kinds else "no candidate"
        rows.append((kind, *map(str, counts), right))
    yield table("units of", *found.kinds, "right", rows=rows, numbers=found.kinds)
    yield ""
    chance = f"chance {1 / len(found.kinds):.2f}"
    yield f"right, of those whose kind has a candidate: {_share(found.right())}, {chance}"
    yield ""
    pairs = [(f"{a} or {b}", _share(share)) for (a, b), share in found.pairs().items()]
    yield table("of two candidates", "the right one is ahead", rows=pairs)
    confused = ", ".join(f"{a} and {b}" for a, b in found.indistinct())
    yield f"kinds that are not distinguished unit by unit: {confused or 'none'}"
    yield ""


def _share(share: Share) -> str:
    low, high = share.ci
    return f"{share.value:.2f} [{low:.2f}, {high:.2f}]"


def _view(one: Recovered) -> Iterator[RenderableType]:
    teacher = one.teacher
    verdict = f"not recovered: {one.why_not}" if one.why_not else "recovered"
    yield f"teacher {teacher.model} (seed {teacher.seed}), synthetic self-test: {verdict}"
    cells = [
        *((name, name, one.scores, one.margins) for name in one.scores),
        *((name, f"{name} (untrained)", one.twins, one.twin_margins) for name in one.twins),
    ]
    body = [
        (label, one.kinds[name], _value(scores[name]), _value(margins.get(name)))
        for name, label, scores, margins in sorted(cells, key=lambda c: -_mean(c[2][c[0]]))
    ]
    yield table("candidate", "kind", "EV on ood", "own kind above it", rows=body)
    yield ""
    if one.comparisons:
        yield table("number", "value", rows=list(_numbers(one.comparisons)))
    if one.probabilities:
        kinds = ", ".join(f"{kind} {p:.2f}" for kind, p in one.probabilities.items())
        yield f"probability of each kind, given these numbers: {kinds}"
    yield ""


def _numbers(comparisons: Sequence[Comparison]) -> Iterator[tuple[str, str]]:
    gains: dict[str, Summary | None] = {}
    for c in comparisons:
        yield f"{c.first} − {c.second}", _value(c.raw)
        gains |= {c.first: c.gain, c.second: c.other_gain}
    for name, gain in gains.items():
        yield f"{name} − its untrained twin", _value(gain)
    for c in comparisons:
        yield f"contrast: gain of {c.first} − gain of {c.second}", _value(c.contrast)


def _distinguished(found: Sequence[Recovered]) -> Iterator[RenderableType]:
    from neurobench_grasp.recovery import indistinct

    if not all(one.probabilities for one in found):
        yield "kinds: no statement, which needs two teachers of each of two kinds (--teacher-seed)"
        return
    confused = indistinct([one.teacher.kind for one in found], [one.probabilities for one in found])
    pairs = ", ".join(f"{a} and {b}" for a, b in confused)
    yield f"kinds that these numbers do not distinguish: {pairs or 'none'}"


def _power(found: Sequence[Recovered]) -> Iterator[RenderableType]:
    shares: dict[tuple[str, int], dict[str, str]] = {}
    for one in found:
        for part in one.power:
            shares.setdefault((part.what, part.size), {})[one.teacher.name] = f"{part.share:.0%}"
    names = list(dict.fromkeys(name for of_size in shares.values() for name in of_size))
    if names:
        yield "power: how often the policy of the teacher's kind is ahead of the other one"
        body = [(f"{size} {what}", *(s.get(n, "") for n in names)) for (what, size), s in shares.items()]
        yield table("with only", *names, rows=body)
        yield ""


def _value(total: Summary | None) -> str:
    if total is None:
        return ""
    interval = f"[{total.ci[0]:.3f}, {total.ci[1]:.3f}]" if total.ci else "no interval"
    return f"{total.value:.3f} {interval}"


def _mean(total: Summary | None) -> float:
    return total.value if total else 0.0
