"""The first screen of a score: what matters of each model on each dataset, in 24 lines of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from neurobench_grasp.cli.score_tables import full_tables, several
from neurobench_grasp.cli.terminal import number, table, with_interval
from neurobench_grasp.contract import StoredRow
from neurobench_grasp.records.names import short_name
from neurobench_grasp.records.table import HELD_OUT, ScoreTable
from neurobench_grasp.run.job import RUNS

if TYPE_CHECKING:
    from rich.console import RenderableType

ENCODING, TRACKING, BRAIN_CONTROL = "encoding", "tracking", "brain-control"
EV = "single_trial_ev"
REFERENCES = (
    "linear_kinematic", "linear_lookahead", "quadratic_kinematic", "linear_inputs", "untrained", "phase_mean",
)  # fmt: skip
"""Of encoding: simpler explanations of the same units."""
STANDING_STILL = "average_posture"
AREAS_SIDE_BY_SIDE = 2
MOST_NOTES = 3


def summaries(tables: Sequence[ScoreTable], out: Path) -> Iterator[RenderableType]:
    """Summarise models, dataset by dataset; protocols on request are shown in full.

    Parameters
    ----------
    tables : sequence of ScoreTable
    out : path
        Run folder, for the commands that continue from here.
    """
    groups: dict[tuple[str, ...], dict[str, ScoreTable]] = {}
    for each in tables:
        data = each.first.record.dataset
        key = each.first.record.model, str(data["id"]), str(data.get("trained_on", ""))
        groups.setdefault(key, {})[str(each.first.record.protocol["name"])] = each
    for protocols in groups.values():
        yield from _summary(protocols)
        for name, each in protocols.items():
            if name not in (ENCODING, TRACKING, BRAIN_CONTROL):
                yield from full_tables(each)
    if tables:
        where = "" if out == RUNS else f" --out {out}"
        yield ""
        yield f"every row: --full; records: {out / 'records'}"
        yield f"next: ngb figures -m {tables[-1].first.record.model}{where}; ngb leaderboard {out}"


def _summary(protocols: dict[str, ScoreTable]) -> Iterator[RenderableType]:
    known = [protocols[name] for name in (ENCODING, TRACKING, BRAIN_CONTROL) if name in protocols]
    if not known:
        return
    record = known[0].first.record
    kind = "synthetic self-test" if record.dataset["synthetic"] else "recordings"
    frozen = f", trained on {record.dataset['trained_on']}" if "trained_on" in record.dataset else ""
    yield f"{record.model} ({several(known[0].seeds)}) on {record.dataset['id']} ({kind}){frozen}"
    if ENCODING in protocols:
        yield from _encoding(protocols[ENCODING])
    if TRACKING in protocols:
        yield from _tracking(protocols[TRACKING])
    if BRAIN_CONTROL in protocols:
        yield from _brain_control(protocols[BRAIN_CONTROL])


def _encoding(networks: ScoreTable) -> Iterator[RenderableType]:
    """EV per area: the candidate, simpler explanations and the ceiling; why an area has none."""
    rows = [row for row in networks.mean_rows if _is_whole(row)]
    split = _split(rows, EV)
    mine = {
        (r["area"], r["metric"], r.get("of", ""), r.get("reference", "")): r
        for r in rows
        if r.get("split") == split and "area" in r
    }
    areas = list(dict.fromkeys(area for area, *_ in mine))
    for start in range(0, len(areas), AREAS_SIDE_BY_SIDE):
        shown = areas[start : start + AREAS_SIDE_BY_SIDE]
        lines = [
            (networks.first.record.model, EV, "", ""),
            *((f" {name}", EV, "", name) for name in REFERENCES),
            (" ceiling", "ceiling", EV, ""),
            ("above the best kinematics", "gain_over_best_kinematic", EV, ""),
        ]
        cells = []
        for label, *key in lines:
            found = [mine.get((area, *key), {"value": None}) for area in shown]
            if any(row["value"] is not None for row in found):
                cells.append([label, *(with_interval({"metric": EV, **row}) for row in found)])
        cells.append(["units", *(str(mine.get((area, EV, "", ""), {}).get("n_units", "")) for area in shown)])
        yield ""
        yield table(f"{short_name(EV)} on {split}", *shown, rows=cells)
    own = [row for (_, *key), row in mine.items() if key == [EV, "", ""]]
    yield from list(dict.fromkeys(str(row["reason"]) for row in own if row.get("reason")))[:MOST_NOTES]


def _tracking(networks: ScoreTable) -> Iterator[RenderableType]:
    rows = [row for row in networks.mean_rows if _is_whole(row)]
    split = _split(rows, "tracking_error")
    by = {
        r.get("reference", ""): r for r in rows if r["metric"] == "tracking_error" and r.get("split") == split
    }
    if by.get("", {}).get("value") is None:
        yield from dict.fromkeys(str(r["reason"]) for r in by.values() if r.get("reason"))
        return
    still = by.get(STANDING_STILL, {}).get("value")
    line = f"tracking error on {split}: {with_interval(by[''])} mm"
    yield line + (f" (average posture {number(still, 2)})" if still is not None else "")
    if still is not None and by[""]["value"] > still:
        yield "the network is hardly trained: it is farther from the movement than the average posture"


def _brain_control(networks: ScoreTable) -> Iterator[RenderableType]:
    rows = [row for row in networks.mean_rows if _is_whole(row) and row["metric"] == "brain_control_error"]
    split = _split(rows, "brain_control_error")
    rows = [row for row in rows if row.get("split") == split]
    for area in dict.fromkeys(row["area"] for row in rows if "area" in row):
        by = {row.get("reference", ""): row for row in rows if row.get("area") == area}
        if by.get("", {}).get("value") is not None:
            shifted = by.get("shifted_spikes", {}).get("value")
            line = f"brain-control error on {split}, {area}: {with_interval(by[''])} mm"
            yield line + (f" (shifted spikes {number(shifted, 2)})" if shifted is not None else "")


def _is_whole(row: StoredRow) -> bool:
    """Whether a row is about all sessions, subjects, layers and keypoints."""
    return not {"session", "subject", "layer", "dimension", "group", "n_components", "noise"} & set(row)


def _split(rows: Sequence[StoredRow], metric: str) -> str:
    """Return the hardest split on which a metric has a value."""
    there = {row.get("split") for row in rows if row["metric"] == metric and row["value"] is not None}
    return next((split for split in reversed(HELD_OUT) if split in there), HELD_OUT[0])
