"""The full tables of a score: every row of its records."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from neurobench_grasp.cli.terminal import number, table, with_interval
from neurobench_grasp.contract import ScoreRecord, StoredRow
from neurobench_grasp.records.names import DECODED, SAW_UNITS, lower_is_better, short_name
from neurobench_grasp.records.table import (
    ADDED,
    CORRELATION,
    ERRORS,
    GAIN,
    HELD_OUT,
    RSA,
    SIMILARITIES,
    UNIQUE,
    RowKey,
    ScoreTable,
    open_folds,
)
from neurobench_grasp.records.units import CEILING

if TYPE_CHECKING:
    from rich.console import RenderableType

HEADLINES = ("single_trial_ev", "tracking_error", "brain_control_error", CORRELATION, RSA)
BOOKKEEPING = (
    "n_units_below_minus_1",
    "n_units_unreliable",
    "n_units_by_mean",
    "n_units_sparse",
)  # shown only where they are not zero
CEILINGS = ("ceiling", "share_of_ceiling")
OTHER_CEILINGS = ("repeats_ceiling", "poisson_ceiling")  # in the record only
CONTRIBUTIONS = {UNIQUE: "unique", ADDED: "beyond quadratic"}
MAX_NOTES = 3
MAX_UNITS = 5


def full_tables(networks: ScoreTable) -> Iterator[RenderableType]:
    """View of a score: its tables, why numbers are missing, what was left out, and where the records are."""
    record = networks.first.record
    dataset, protocol = record.dataset, record.protocol
    kind = "synthetic self-test" if dataset["synthetic"] else "recordings"
    what = f"{record.model} ({several(networks.seeds)}) on {dataset['id']} ({kind})"
    frozen = f", trained on {dataset['trained_on']}" if "trained_on" in dataset else ""
    yield f"{what}, {protocol['name']} v{protocol['version']}{frozen}"
    rows = networks.mean_rows
    shown = [row for row in rows if _shown(row)]
    for area in dict.fromkeys(row.get("area", "") for row in shown):
        yield ""
        yield _table(area, [row for row in shown if row.get("area", "") == area])
    yield from _layer_tables(rows)
    yield from _curve_tables(rows)
    yield from _channel_table(rows)
    of_groups = [row for row in rows if "group" in row]
    yield from _group_tables(of_groups)
    of_populations = [row for row in rows if row.get("of", row["metric"]) in SIMILARITIES]
    yield from _population_tables(of_populations)
    yield ""
    yield from _footnotes([*shown, *of_groups, *of_populations])
    yield from _saw_units(shown)
    yield from _open_folds(record, shown)
    yield from _not_in_all(networks, shown)
    yield from _dropped(record)
    yield from _notes(networks)
    yield from (f"record: {scored.path}" for scored in networks.networks)


def _layer_tables(rows: Sequence[StoredRow]) -> Iterator[RenderableType]:
    """EV of each layer by number of components, area by area, if the record has them."""
    rows = [row for row in rows if "n_components" in row]
    for area in dict.fromkeys(row["area"] for row in rows):
        mine = {(r["layer"], r["n_components"]): number(r["value"], 3) for r in rows if r["area"] == area}
        layers, numbers = (list(dict.fromkeys(key[i] for key in mine)) for i in (0, 1))
        cells = [(layer, *(mine[layer, n] for n in numbers)) for layer in layers]
        yield ""
        heads = [f"{area}, EV on ood by", *map(str, numbers)]
        yield table(*heads, rows=cells, numbers=heads[1:])


def _group_tables(rows: Sequence[StoredRow]) -> Iterator[RenderableType]:
    """Show what each group of features explains alone, and beyond the others, area by area."""
    for area in dict.fromkeys(row["area"] for row in rows):
        mine = {(r["group"], r["metric"], r["split"]): r for r in rows if r["area"] == area}
        columns = list(dict.fromkeys((metric, split) for _, metric, split in mine))
        heads = [f"{CONTRIBUTIONS.get(metric, 'alone')}, {split}" for metric, split in columns]
        found = [key[0] for key, row in mine.items() if row["value"] is not None]
        cells = [
            (group, *(with_interval(mine[key]) if (key := (group, *c)) in mine else "" for c in columns))
            for group in dict.fromkeys(found)
        ]
        yield ""
        yield table(f"{area}, features", *heads, rows=cells)


def _channel_table(rows: Sequence[StoredRow]) -> Iterator[RenderableType]:
    """Correlation of each channel of the EMG, beside its ceiling."""
    rows = [row for row in rows if CORRELATION in (row["metric"], row.get("of")) and "dimension" in row]
    mine = {(r["dimension"], r["metric"], r["split"]): with_interval(r) for r in rows}
    columns = [(metric, split) for split in HELD_OUT for metric in (CORRELATION, CEILING)]
    if mine:
        heads = ["ceiling" if metric == CEILING else f"correlation, {split}" for metric, split in columns]
        cells = [(c, *(mine[c, *column] for column in columns)) for c in dict.fromkeys(c for c, _, _ in mine)]
        yield ""
        yield table("EMG channel", *heads, rows=cells)


def _population_tables(rows: Sequence[StoredRow]) -> Iterator[RenderableType]:
    """Similarities of populations, measure by measure, area by area; then of layers and of sessions."""
    for area in dict.fromkeys(row["area"] for row in rows):
        mine = [row for row in rows if row["area"] == area]
        cells = []
        for metric in SIMILARITIES:
            found: dict[str, dict[str, str]] = {"": {}}
            for row in mine:
                whole = "session" not in row and "layer" not in row
                if whole and row.get("of", row["metric"]) == metric and row["value"] is not None:
                    found.setdefault(_compared(row), {})[row["split"]] = with_interval(row)
            for name, by_split in found.items():
                label = f" {name}" if name else short_name(metric)
                cells.append([label, *(by_split.get(split, "–") for split in HELD_OUT)])
        yield ""
        yield table(area, *HELD_OUT, rows=cells)
        for label, title in (("layer", "layer"), ("session", "sessions")):
            some = [row for row in mine if label in row and row["split"] == "ood"]
            names = dict.fromkeys(_compared(row) for row in some)
            if names:
                at = {(_compared(row), row["metric"]): number(row["value"], 3) for row in some}
                heads = [short_name(metric) for metric in SIMILARITIES]
                lines = [(name, *(at.get((name, metric), "") for metric in SIMILARITIES)) for name in names]
                yield ""
                yield table(f"{area}, {title}, ood", *heads, rows=lines, numbers=heads)


def _compared(row: StoredRow) -> str:
    """Return what a population is compared with, or what is made of that; empty for the model."""
    if "session" in row:
        return f"{row['session']}, {row['reference']}"
    if row["metric"].startswith(GAIN):
        return f"above {str(row['metric']).removeprefix(GAIN)}"
    return str(row.get("layer") or row.get("reference") or (short_name(row["metric"]) if "of" in row else ""))


def _curve_tables(rows: Sequence[StoredRow]) -> Iterator[RenderableType]:
    """Error by number of units and by noise, area by area and split by split, if the record has them."""
    rows = [row for row in rows if "noise" in row]
    for area, split in dict.fromkeys((row["area"], row["split"]) for row in rows):
        mine = {
            (r["decoded"], r["n_decoded_units"], r["noise"]): with_interval(r)
            for r in rows
            if (r["area"], r["split"]) == (area, split)
        }
        kinds = list(dict.fromkeys(kind for kind, _, _ in mine))
        points = dict.fromkeys((n, noise) for _, n, noise in mine)
        cells = [
            (_many(n) + (f", noise {noise:g} SD" if noise else ""), *(mine[k, n, noise] for k in kinds))
            for n, noise in points
        ]
        heads = (f"{area}, error on {split} (mm), decoded:", *(DECODED.get(k, k) for k in kinds))
        yield ""
        yield table(*heads, rows=cells)


def _many(n_units: str) -> str:
    return f"{n_units} unit{'' if n_units == '1' else 's'}"


def _shown(row: StoredRow) -> bool:
    """Whether a row belongs in the printed tables; the record holds them all."""
    key = RowKey.of_row(row)
    if {key.metric, key.of} & {*SIMILARITIES}:
        return False  # they have their tables
    if key.metric in ERRORS:
        key = key._replace(dimension="")  # a keypoint
    if not key._replace(reference="").is_main or key.split not in (*HELD_OUT, ""):
        return False
    if row["metric"] in BOOKKEEPING:
        return bool(row["value"])
    if row["metric"] in CEILINGS:
        return True
    headline = row.get("of", row["metric"]) in HEADLINES and row["metric"] not in OTHER_CEILINGS
    return headline or not ("reference" in row or "of" in row)


def _table(area: str, rows: Sequence[StoredRow]) -> RenderableType:
    """Scores of one area: the model, then its references, then its gains over them."""
    headlines = [name for name in HEADLINES if any(r["metric"] == name for r in rows)]
    columns = [split for split in (*HELD_OUT, "") if any(row.get("split", "") == split for row in rows)]
    applies = {_label(r) for r in rows if r["value"] is not None}
    rows = [r for r in rows if not _of_reference(r) or _label(r) in applies]  # the footnotes say why
    sections = {
        "": [r for r in rows if "reference" not in r and "of" not in r],
        **{
            f"{short_name(name)} of": [r for r in rows if "reference" in r and r["metric"] == name]
            for name in headlines
        },
        **{
            f"{short_name(name)} {'below' if lower_is_better(name) else 'above'}": [
                r for r in rows if r["metric"].startswith(GAIN) and r.get("of", name) == name
            ]
            for name in headlines
        },
        **{f"{short_name(name)} of": [r for r in rows if r["metric"] == name] for name in CEILINGS},
    }
    cells: list[list[str]] = []
    for title, members in sections.items():
        if title and members:
            cells.append([title, *[""] * (len(columns) + 1)])
        for label in dict.fromkeys(map(_label, members)):
            by_split = {r.get("split", ""): r for r in members if _label(r) == label}
            units = dict.fromkeys(str(r["n_units"]) for r in by_split.values() if "n_units" in r)
            values = [with_interval(by_split[c]) if c in by_split else "" for c in columns]
            cells.append([f" {label}" if title else label, *values, "/".join(units)])
    heads = [column or "value" for column in columns]
    if not any("n_units" in r for r in rows):  # about the body, not about units
        return table(area, *heads, rows=[row[:-1] for row in cells])
    return table(area, *heads, "units", rows=cells, numbers=("units",))


def _of_reference(row: StoredRow) -> bool:
    return "reference" in row or row["metric"].startswith(GAIN)


def _label(row: StoredRow) -> str:
    if "group" in row:
        return str(row["group"])
    keypoint = f", {row['dimension']}" if "dimension" in row else ""
    if "reference" in row:
        return f"{row['reference']}{keypoint}"
    if row["metric"] in CEILINGS:
        return short_name(row["of"])
    if "of" in row:
        return str(row["metric"]).removeprefix(GAIN)
    unit = f" ({row['unit']})" if "unit" in row else ""
    return short_name(row["metric"]) + keypoint + unit


def _footnotes(rows: Sequence[StoredRow]) -> Iterator[str]:
    """Why a number or an interval is missing, each reason once."""
    for reason in dict.fromkeys(row["reason"] for row in rows if row.get("reason")):
        same = [row for row in rows if row.get("reason") == reason]
        labels = dict.fromkeys(map(_label, same))
        labels = labels if len(labels) < 3 else {}
        parts = [
            " and ".join(dict.fromkeys(str(r["area"]) for r in same if "area" in r)),
            ", ".join(labels),
            " and ".join(split for split in HELD_OUT if any(r.get("split") == split for r in same)),
        ]
        yield f"{' '.join(filter(None, parts))}: {reason}"


def _saw_units(rows: Sequence[StoredRow]) -> Iterator[str]:
    """State which references were trained on the units that are scored."""
    there = {row.get("reference") for row in rows if row["value"] is not None}
    yield from (f"{name}: {how}" for name, how in SAW_UNITS.items() if name in there)


def _open_folds(record: ScoreRecord, rows: Sequence[StoredRow]) -> Iterator[str]:
    """State what gives intervals where the fold of one network has too few conditions."""
    own = [row for row in rows if "n_conditions" in row and "of" not in row and row["value"] is not None]
    lacking = dict.fromkeys(row.get("split", "") for row in own if not row.get("ci"))
    yield from (f"{split}: {why}" for split in lacking if (why := open_folds([record], split)))


def _not_in_all(networks: ScoreTable, rows: Sequence[StoredRow]) -> Iterator[str]:
    """List the units that means over networks leave out, since some network has no score of them."""
    if len(networks.networks) == 1:
        return
    found = []
    for row in rows:
        own = "reference" not in row and "of" not in row
        if own and (without := networks.left_out(RowKey.of_row(row))):
            names = [*without][:MAX_UNITS] + [f"{len(without) - MAX_UNITS} more"] * (len(without) > MAX_UNITS)
            seeds = sorted({seed for lacking in without.values() for seed in lacking})
            by = f"{'' if len(seeds) == 1 else 'at least one of '}{several(seeds)}"
            reason = f"the mean leaves out {', '.join(names)}, without a score by {by}"
            found.append({**row, "reason": reason})
    yield from _footnotes(found)


def several(seeds: Sequence[int]) -> str:
    """Return the seeds of networks, as text."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _dropped(record: ScoreRecord) -> Iterator[str]:
    """List what was dropped and why; the names are in the record."""
    counts: Counter[str] = Counter()
    for item in record.dropped:
        if "n" in item:
            counts[f"{item.get('what', 'items')}: {item['reason']}"] += item["n"]
    if counts:
        yield "left out: " + "; ".join(f"{n} {what}" for what, n in counts.items())


def _notes(networks: ScoreTable) -> Iterator[str]:
    """List the notes of the records; those of some networks alone, as of a fold, with their seeds."""
    seeds: dict[str, list[int]] = defaultdict(list)
    for scored in networks.networks:
        for text in dict.fromkeys(item["reason"] for item in scored.record.dropped if "n" not in item):
            seeds[text].append(scored.record.seed)
    shared = [text for text, mine in seeds.items() if mine == networks.seeds]
    for text, mine in seeds.items():
        if mine != networks.seeds:
            yield f"note, {several(mine)}: {text}"
    yield from (f"note: {text}" for text in shared[:MAX_NOTES])
    if len(shared) > MAX_NOTES:
        yield f"note: {len(shared) - MAX_NOTES} more in the record"
