"""Builds the site from records: a folder of pages, byte for byte the same for the same records."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from neurobench_grasp.contract import DatasetSpec, ProtocolSpec, ScoreRecord
from neurobench_grasp.errors import NgbError
from neurobench_grasp.formats import read_plain
from neurobench_grasp.leaderboard.site import draw, export, glossary
from neurobench_grasp.leaderboard.site import format as text
from neurobench_grasp.leaderboard.site.boards import ERRORS, LINES, MOST_COMPARED, BoardTable, Group, groups
from neurobench_grasp.leaderboard.site.entries import (
    Entry,
    as_mapping,
    by_model,
    read_entries,
)
from neurobench_grasp.leaderboard.site.folder import check_folder, write_folder
from neurobench_grasp.leaderboard.site.model_page import Part, learning_curve, parts_of
from neurobench_grasp.leaderboard.site.pair_page import card_grid, meetings, pair_path, pairs_of
from neurobench_grasp.leaderboard.site.session_page import parts_of_session, session_paths
from neurobench_grasp.leaderboard.standings import IDENTITY, RANK_RULE, identity, settings_digest
from neurobench_grasp.records.names import METRICS, metric_name
from neurobench_grasp.records.table import Score
from neurobench_grasp.text import clean

ASSETS = ("board.js", "icon.svg", "style.css", "theme.js")
FILMS = {".mp4": "video/mp4", ".webm": "video/webm", ".gif": "image/gif"}
LOGO = "assets/logo.png"
MOST_NAMED, MOST_LEFT_OUT = 6, 200
LARGEST_FILM = 30 << 20
"""Bytes of a video that is copied."""


@dataclass(frozen=True)
class Facts:
    """Facts from outside the records.

    Parameters
    ----------
    datasets : mapping of str to DatasetSpec
    protocols : mapping of str to ProtocolSpec
    bodies : mapping of str to str
        Dataset → the body that its movements are replayed with.
    curves : mapping of str to sequence of mapping
        Digest of a network, as records have it → its errors during training.
    title : str
        Name of the site.
    logo : bytes
        A PNG, see :func:`~neurobench_grasp.leaderboard.site.logo.read_logo`; empty if there is none.
    citation : mapping of str to object
        Fields of ``CITATION.cff``: how to cite the benchmark; empty if that is not known.
    """

    datasets: Mapping[str, DatasetSpec] = field(default_factory=dict)
    protocols: Mapping[str, ProtocolSpec] = field(default_factory=dict)
    bodies: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    title: str = "neurobench_grasp"
    logo: bytes = b""
    citation: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """The site that was built.

    Parameters
    ----------
    index : path
        The first page.
    n_records, n_models, n_boards : int
    problems : sequence of str
        One sentence for each file or folder that could not be read.
    """

    index: Path
    n_records: int
    n_models: int
    n_boards: int
    problems: Sequence[str]


def build_site(folders: Iterable[str | Path], to: str | Path, facts: Facts) -> Site:
    """Build the board as a static site.

    Parameters
    ----------
    folders : iterable of path
        Run folders, submissions, folders of records, or folders of these; their order does not matter.
    to : path
        Folder of the site. It is made, or replaced if it is a site built here.
    facts : Facts

    Returns
    -------
    Site

    Raises
    ------
    NgbError
        If no record could be read, or the folder cannot be written.
    """
    to, folders = Path(to), list(folders)
    check_folder(to)
    entries, problems = read_entries(folders)
    if not entries and problems:
        reasons = "; ".join(problem.rstrip(".") for problem in problems[:3])
        raise NgbError(
            f"None of these has records ({reasons}); name run folders, submissions or folders of records."
        )
    content = _Pages(entries, facts)
    write_folder(to, dict(content.files()))
    boards = [table for group in content.groups for table in group.tables]
    return Site(
        to / "index.html", len(entries), len(content.models), len(boards), [*problems, *content.problems]
    )


@dataclass(frozen=True)
class Film:
    """A video of a controller's hand, made by ``ngb render``."""

    name: str
    kind: str
    raw: bytes


class _Pages:
    """All pages of a site and the files beside them."""

    def __init__(self, entries: Sequence[Entry], facts: Facts):
        self.entries, self.facts = entries, facts
        self.groups = groups(entries)
        self.models = by_model(entries)
        self.pairs = pairs_of(self.groups)
        self.newest = max(filter(None, (_day(entry.date) for entry in entries)), default="")
        self._tables: dict[tuple[Any, ...], list[BoardTable]] = defaultdict(list)
        for group in self.groups:
            for table in group.tables:
                labels = table.labels
                protocol = {"name": labels["protocol"], "version": labels["version"]}
                what = _what(tuple(group.labels.values()), protocol, labels["settings_sha256"])
                self._tables[what].append(table)
        self.films, self.problems = _films(entries, self.models)
        self._environment = _environment()

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Path and content of every file."""
        assets = files("neurobench_grasp.leaderboard.site") / "assets"
        for name in ASSETS:
            yield f"assets/{name}", (assets / name).read_bytes()
        if self.facts.logo:
            yield LOGO, self.facts.logo
        yield "board.json", export.board_json(self.groups)
        yield "board.csv", export.board_csv(self.groups)
        for group in self.groups:
            for table in group.tables:
                yield f"boards/{table.id}.csv", export.board_csv([Group(group.labels, [table])])
        yield "scores.csv", export.scores_csv(self.entries)
        units = export.units_csv(self.entries)
        if units:
            yield "units.csv", units
        for entry in self.entries:
            yield f"records/{entry.file}", entry.raw
        for films in self.films.values():
            for film in films:
                yield f"films/{film.name}", film.raw
        yield from self._boards(has_units=bool(units))
        for model in self.models:
            yield f"models/{text.slug(model)}.html", self._model(model)
        for first, second in self.pairs:
            yield pair_path(first, second), self._pair(first, second)
        for group in self.groups:
            for table in group.tables:
                for session, path in session_paths(table).items():
                    parts = list(parts_of_session(table, session))
                    yield (
                        path,
                        self._page(
                            "session.html",
                            root="../",
                            page="session",
                            session=session,
                            table=table,
                            parts=parts,
                        ),
                    )
        for dataset in sorted({str(entry.record.dataset["id"]) for entry in self.entries}):
            yield f"datasets/{text.slug(dataset)}.html", self._dataset(dataset)
        for protocol in sorted({str(entry.record.protocol["name"]) for entry in self.entries}):
            yield f"protocols/{text.slug(protocol)}.html", self._protocol(protocol)

    def _boards(self, *, has_units: bool) -> Iterator[tuple[str, bytes]]:
        kinds = {
            kind: [g for g in self.groups if bool(g.labels["synthetic"]) == kind] for kind in (False, True)
        }
        shared = {
            "n_synthetic": len({m for g in kinds[True] for m in g.models}),
            "n_recorded": len({m for g in kinds[False] for m in g.models}),
            "rule": RANK_RULE,
            "has_units": has_units,
        }
        for synthetic, name in ((False, "index.html"), (True, "self-tests.html")):
            shown = kinds[synthetic]
            yield name, self._page(
                "boards.html", root="", page=name, groups=shown, synthetic=synthetic,
                filters=list(_filters(shown, self.facts.bodies)), bodies=self.facts.bodies,
                citation=self.facts.citation,
                n_models=len({m for g in shown for m in g.models}), **shared,
            )  # fmt: skip

    def _card(self, model: str) -> Mapping[str, Any] | None:
        """Newest card of a model."""
        newest_first = sorted(self.models[model], key=lambda entry: entry.date, reverse=True)
        return next((entry.record.card for entry in newest_first if entry.record.card), None)

    def _pair(self, first: str, second: str) -> bytes:
        cards = {model: self._card(model) for model in (first, second)}
        return self._page(
            "pair.html", root="../", page="pair", first=first, second=second, rule=RANK_RULE,
            meetings=list(meetings(self.groups, first, second)), cards=card_grid(first, second, cards),
        )  # fmt: skip

    def _model(self, model: str) -> bytes:
        mine = self.models[model]
        newest = max(mine, key=lambda entry: (entry.date, entry.file))
        standings = [
            (group, table, row)
            for group in self.groups
            for table in group.tables
            for row in table.rows
            if row.model == model
        ]
        return self._page(
            "model.html", root="../", page="model", model=model, card=self._card(model), standings=standings,
            sections=list(self._sections(mine)), entries=mine, films=self.films.get(model, []),
            provenance=_provenance(newest), training=self._training(mine),
            commands=list(_commands(mine, self.facts)), n_compared=MOST_COMPARED,
            beside=[(pair[pair[0] == model], pair_path(*pair)) for pair in self.pairs if model in pair],
        )  # fmt: skip

    def _sections(self, mine: Sequence[Entry]) -> Iterator[tuple[Mapping[str, Any], list[Part]]]:
        """Yield the sections of a model's page, dataset by dataset."""
        by_data: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
        for entry in mine:
            by_data[identity(entry.record)].append(entry)
        for data in sorted(by_data):
            parts: list[Part] = []
            for entries in _alike(by_data[data]):
                parts += parts_of(entries, self._known(entries[0].record))
            yield dict(zip(IDENTITY, data, strict=True)), parts

    def _known(self, record: ScoreRecord) -> dict[tuple[str, str], Score]:
        """Numbers of a model on the boards of one of its records, by area and column."""
        return {
            (table.labels["area"], column.key): row.cells[column.key]
            for table in self._tables[_what(identity(record), record.protocol, settings_digest(record))]
            for row in table.rows
            if row.model == record.model
            for column in table.columns
        }

    def _training(self, mine: Sequence[Entry]) -> Part | None:
        """Learning curves of those networks whose cards are known."""
        weights = {str(entry.record.provenance.get("weights")): entry.record.seed for entry in mine}
        known = [w for w in sorted(weights, key=lambda w: (weights[w], w)) if w in self.facts.curves]
        return learning_curve([self.facts.curves[w] for w in known])

    def _dataset(self, dataset: str) -> bytes:
        mine = [entry for entry in self.entries if entry.record.dataset["id"] == dataset]
        versions = {
            identity(entry.record): entry.record.dataset
            for entry in sorted(mine, key=lambda entry: entry.date)
        }
        return self._page(
            "dataset.html", root="../", page="dataset", dataset=dataset,
            spec=self.facts.datasets.get(dataset),
            versions=[(dict(zip(IDENTITY, k, strict=True)), versions[k]) for k in sorted(versions)],
            groups=[group for group in self.groups if group.labels["dataset"] == dataset],
            licences=sorted({str(entry.record.dataset.get("licence", "unknown")) for entry in mine}),
            synthetic=any(entry.record.dataset["synthetic"] for entry in mine),
            models=list(by_model(mine)),
        )  # fmt: skip

    def _protocol(self, protocol: str) -> bytes:
        mine = [entry for entry in self.entries if entry.record.protocol["name"] == protocol]
        versions: dict[tuple[int, str], tuple[Mapping[str, Any], list[Entry]]] = {}
        for entry in mine:
            key = (entry.record.protocol["version"], settings_digest(entry.record))
            settings = as_mapping(entry.record.protocol.get("settings"))
            versions.setdefault(key, (settings, []))[1].append(entry)
        found = {str(row["metric"]) for entry in mine for row in entry.record.scores}
        metrics = [*(m for m in METRICS if m in found), *sorted(found - METRICS.keys())]
        return self._page(
            "protocol.html", root="../", page="protocol", protocol=protocol, metrics=metrics,
            spec=self.facts.protocols.get(protocol), models=list(by_model(mine)),
            versions=[(version, digest, *versions[version, digest]) for version, digest in sorted(versions)],
            tables=[(g, t) for g in self.groups for t in g.tables if t.labels["protocol"] == protocol],
        )  # fmt: skip

    def _page(self, template: str, **content: Any) -> bytes:
        about = {"title": self.facts.title, "logo": LOGO if self.facts.logo else "", "newest": self.newest}
        html = self._environment.get_template(template).render(**about, **content)
        return html.encode("utf-8", "replace")


def _day(date: str) -> str:
    """Day of a record's date; empty if it is none."""
    try:
        return datetime.fromisoformat(date).date().isoformat()
    except ValueError:
        return ""


def _what(data: tuple[Any, ...], protocol: Mapping[str, Any], settings: str) -> tuple[Any, ...]:
    """Key of what was scored, and how."""
    return (*data, protocol["name"], protocol["version"], settings)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("neurobench_grasp.leaderboard.site"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=lambda value: clean(value) if type(value) is str else value,
    )
    environment.filters.update(
        slug=text.slug, num=text.number, ends=text.ends, spread=text.spread, shown=text.shown, short=_short,
        rank=rank, letters=letters, kind=_kind, metric=metric_name, linked=_linked, sort=_sort,
        sentence=_sentence, breakable=_breakable, few=_few, left_out=_left_out, networks=text.networks,
    )  # fmt: skip
    environment.tests["alone"] = lambda seeds: len(seeds) == 1
    environment.globals.update(
        draw_scale=_scale,
        interval=draw.interval,
        axis=draw.axis,
        glossary=glossary,
        header_groups=_header_groups,
        scatter=_scatter,
        session_paths=session_paths,
        errors=ERRORS,
    )
    return environment


def rank(row: Any) -> str:
    """Format the range of ranks of a model."""
    if row.rank is None:
        return text.NOTHING
    return str(row.rank) if row.rank == row.rank_worst else f"{row.rank}–{row.rank_worst}"


def letters(ties: str) -> str:
    """Format the letters of groups of ties, a run of them as first and last."""
    found = re.findall(r"[a-z]\d*", ties)
    places = [(int(letter[1:] or 0), ord(letter[0]), letter) for letter in found]
    runs = []
    for _, run in groupby(enumerate(places), key=lambda item: item[1][0] * 26 + item[1][1] - item[0]):
        some = [place[2] for _, place in run]
        runs.append(" ".join(some) if len(some) < 3 else f"{some[0]}–{some[-1]}")
    return " ".join(runs)


def _scale(table: BoardTable) -> draw.Scale:
    (column,) = [column for column in table.columns if column.drawn]
    cells = [row.cells[column.key] for row in table.rows]
    return draw.interval_scale([(c.value, c.ci) for c in cells if c.value is not None], lower=column.lower)


def _scatter(table: BoardTable, key: str) -> Markup:
    """Draw the scores of a board against an error; empty if no model has both."""
    ranks = next(column.key for column in table.columns if column.drawn)
    dots = []
    for row in table.rows:
        score, error = row.cells[ranks], row.cells[key]
        if score.value is not None and error.value is not None:
            about = f"{row.model}: EV {text.spread(score)}, {ERRORS[key]} {text.spread(error, 2)}"
            page = f"models/{text.slug(row.model)}.html"
            anchor = f"#{table.anchor(row.model)}"
            dots.append(
                draw.Dot(row.model, error.value, score.value, error.ci, score.ci, anchor, page, about)
            )
    if not dots:
        return Markup()
    about = f"Single-trial EV in new conditions against {ERRORS[key]}, {table.name}, of {len(dots)} models"
    levels = {LINES[name]: value for name, value in table.lines.items()}
    return draw.scatter(about, dots, levels, f"{ERRORS[key]} (lower is better)", "single-trial EV")


def _filters(shown: Iterable[Group], bodies: Mapping[str, str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the name, label and values of each filter that has a choice."""
    tables = [table for group in shown for table in group.tables]
    found = {
        "dataset": {table.labels["dataset"] for table in tables},
        "area": {table.labels["area"] for table in tables},
        "body": {bodies.get(table.labels["dataset"], "") for table in tables},
        "action": {row.action for table in tables for row in table.rows},
        "protocol": {table.labels["protocol"] for table in tables},
    }
    for name, values in found.items():
        if len(values) > 1:
            yield name, name.capitalize(), sorted(values - {""})


def _header_groups(table: BoardTable) -> list[tuple[str, int]]:
    """Headers above columns, with how many they span."""
    return [(name, len(list(same))) for name, same in groupby(column.group for column in table.columns)]


def _sort(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _few(names: Iterable[str]) -> str:
    """List some models, or count them if there are many."""
    found = list(names)
    return ", ".join(found) if len(found) <= MOST_NAMED else f"{len(found)} models"


def _left_out(dropped: Iterable[Sequence[Mapping[str, Any]]]) -> list[str]:
    """List what records left out and why, without repetition."""
    rows = (row for rows in dropped for row in rows)
    lines = (
        ", ".join([*(f"{k} {text.shown(v)}" for k, v in row.items() if k not in ("reason", "what")), ""])
        + text.shown(row["reason"])
        for row in rows
    )
    return list(dict.fromkeys(lines))[:MOST_LEFT_OUT]


def _breakable(name: str) -> Markup:
    """Allow line breaks after underscores."""
    return Markup("_<wbr>").join(clean(name).split("_"))


def _sentence(summary: str) -> str:
    """Format a line of a listing as a sentence."""
    return f"{summary[:1].upper()}{summary[1:].rstrip('.')}."


def _short(digest: str) -> str:
    return str(digest)[:8]


def _kind(labels: Mapping[str, Any]) -> str:
    return "synthetic self-test" if labels["synthetic"] else "recordings"


def _linked(value: str) -> Markup:
    """Link the addresses in a text of the catalogue."""
    parts = re.split(r"(https://[^\s<>\"',;]+[^\s<>\"',;.])", clean(str(value)))
    link = Markup('<a href="{0}" rel="noopener noreferrer">{0}</a>')
    return Markup().join(link.format(part) if k % 2 else part for k, part in enumerate(parts))


def _alike(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Group records by protocol, version and settings; by seed within."""
    found: dict[tuple[str, int, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        protocol = entry.record.protocol
        found[protocol["name"], protocol["version"], settings_digest(entry.record)].append(entry)
    shown = ("encoding", "layers", "partition", "tracking", "brain-control", "brain-control-curves")
    order = {name: place for place, name in enumerate(shown)}
    keys = sorted(found, key=lambda key: (order.get(key[0], 9), *key))
    return [sorted(found[key], key=lambda entry: entry.record.seed) for key in keys]


def _provenance(entry: Entry) -> list[tuple[str, str]]:
    """List the provenance of a record, line by line."""
    found = entry.record.provenance
    git, cpu = as_mapping(found.get("git")), as_mapping(found.get("cpu"))
    commit = f"{git['commit']}{', changed' if git.get('dirty') else ''}" if "commit" in git else None
    lines = {
        "neurobench_grasp": found.get("ngb"),
        "commit": commit,
        "code": found.get("code"),
        "weights": found.get("weights"),
        "packages": found.get("packages"),
        "Python": found.get("python"),
        "platform": found.get("platform"),
        "processor": cpu.get("model"),
        "seconds": found.get("wall_time_s"),
    }
    return [(name, text.shown(value)) for name, value in lines.items() if value not in (None, "", {})]


def _commands(mine: Sequence[Entry], facts: Facts) -> Iterator[str]:
    """Yield the commands that score a model again, dataset by dataset."""
    seeds: dict[tuple[str, str, str], dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for entry in mine:
        data, protocol = entry.record.dataset, entry.record.protocol
        decoder = str(as_mapping(protocol.get("settings")).get("decoder", "ridge")).split(" ")[0]
        run = str(data["id"]), str(data.get("trained_on", "")), decoder
        seeds[run][str(protocol["name"])].add(entry.record.seed)
    for (dataset, trained_on, decoder), protocols in sorted(seeds.items()):
        parts = ["ngb", "score", "--model", mine[0].record.model]
        parts += ["--dataset", dataset if dataset in facts.datasets else f"path/to/{dataset}.nwb"]
        parts += ["--trained-on", trained_on] if trained_on else []
        parts += ["--decoder", decoder] if decoder != "ridge" else []
        for numbers in sorted({tuple(sorted(found)) for found in protocols.values()}):
            alike = sorted(name for name, found in protocols.items() if tuple(sorted(found)) == numbers)
            asked = [word for name in alike for word in ("--protocol", name)]
            if numbers == tuple(range(len(numbers))):
                yield shlex.join(
                    [*parts, *asked, *(["--seeds", str(len(numbers))] if len(numbers) > 1 else [])]
                )
            else:
                yield from (shlex.join([*parts, *asked, "--seed", str(seed)]) for seed in numbers)


def _films(entries: Iterable[Entry], models: Iterable[str]) -> tuple[dict[str, list[Film]], list[str]]:
    """Find videos that ``ngb render`` wrote beside records or in their run folder, by model.

    Returns
    -------
    films : dict
    problems : list of str
        One sentence for each that was not read: a link, for example, may lead to anything.
    """
    folders = {
        place
        for entry in entries
        for place in (entry.folder, entry.folder.parent if entry.folder.name == "records" else entry.folder)
    }
    found: dict[str, dict[str, Film]] = defaultdict(dict)
    problems = []
    for path in sorted(path for folder in folders for path in folder.iterdir() if path.suffix in FILMS):
        of = [model for model in models if path.name.startswith(f"{model}-")]
        if not of:
            continue
        try:
            raw = read_plain(path, LARGEST_FILM)
        except NgbError as error:
            problems.append(str(error))
            continue
        name = f"{text.slug(path.stem)}-{hashlib.sha256(raw).hexdigest()[:8]}{path.suffix}"
        found[max(of, key=len)][name] = Film(name, FILMS[path.suffix], raw)
    return {model: [films[name] for name in sorted(films)] for model, films in found.items()}, problems
