import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations, product
from types import SimpleNamespace

import claimed
import numpy as np
import pandas as pd
import pytest
from pictures import assert_legible, assert_row, pick, the, watch
from typer.main import get_command
from typer.testing import CliRunner

from neurobench_grasp.cli import app
from neurobench_grasp.contract import ModelSpec
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.plots.report.animals import (
    animals,
    decoding_by_animal,
    ev_of_two,
    mann_whitney,
    tracking_of_two,
)
from neurobench_grasp.plots.report.learning import learning, snapshots
from neurobench_grasp.plots.report.panels import Panel, figure_of
from neurobench_grasp.plots.report.verdicts import verdicts
from neurobench_grasp.plots.trajectory import Movement, Trajectory
from neurobench_grasp.plugins import CORE, Provided, load_registry
from neurobench_grasp.records.record import write_record
from neurobench_grasp.records.table import ScoreTable
from neurobench_grasp.run import report
from neurobench_grasp.run.report import make_report
from neurobench_grasp.run.stages import Kept, StageFolder

HOSTILE = '<script>alert(1)</script>"><img src=//evil.example/x onerror=alert(2)>$\\frac{$'
SESSIONS = [
    {"id": "a1", "subject": "anna", "sha256": "0" * 64},
    {"id": "a2", "subject": "anna", "sha256": "1" * 64},
    {"id": "b1", "subject": "bert", "sha256": "2" * 64},
]
N_NETWORKS = 4


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    monkeypatch.setattr("neurobench_grasp.plots.style._DPI", 100)  # which takes a third of the time


@pytest.fixture
def pages(monkeypatch):
    return watch(monkeypatch)


def by_session(model, network):
    """Tracking error of one network in each session; not the same for any two."""
    base = 6.0 if model == "muscle_ppo" else 4.0
    return {s["id"]: base + 0.1 * network + 0.01 * k for k, s in enumerate(SESSIONS)}


def tracking_rows(model, network):
    parts = by_session(model, network)
    labels = {"metric": "tracking_error", "split": "ood"}
    rows = [{**labels, "session": name, "value": error} for name, error in parts.items()]
    rows += [
        {**labels, "split": split, "reference": "average_posture", "value": 12.5}
        for split in ("train", "ood")
    ]
    return [{**labels, "value": float(np.mean(list(parts.values())))}, *rows]


def ev(model, network, animal, area):
    return (
        0.2
        + 0.01 * network
        + (animal == "bert") * 0.05
        + (area == "S1") * 0.1
        - (model == "torque_ppo") * 0.4
    )


def encoding_rows(model, network):
    labels = {"metric": "single_trial_ev", "split": "ood"}
    return [
        {
            **labels,
            "area": area,
            **({"subject": animal} if animal else {}),
            "value": ev(model, network, animal, area),
        }
        for area, animal in product(("M1", "S1"), ("", "anna", "bert"))
    ]


def decoding_rows(model, network):
    return [
        {
            "metric": f"decoding_ev{suffix}",
            "split": "test",
            "area": "M1",
            "decoded": kind,
            "value": 0.5 + network / 100,
        }
        for kind, suffix in (("embedding", ""), ("joint_angles", "_joint_angles"))
    ]


def table_of(model, protocol, rows, n_networks=N_NETWORKS, sessions=SESSIONS):
    made = claimed.records(
        model, protocol, rows=[rows(model, k) for k in range(n_networks)], n_networks=n_networks,
        settings={"decoder": "ridge (1.0)"},
    )  # fmt: skip
    records = [replace(s.record, dataset={**s.record.dataset, "sessions": sessions}) for s in made]
    return ScoreTable(tuple(replace(s, record=r) for s, r in zip(made, records, strict=True)))


def both(protocol, rows, **options):
    return [table_of(model, protocol, rows, **options) for model in ("muscle_ppo", "torque_ppo")]


# --- panels ---------------------------------------------------------------------------------------


def test_the_tracking_error_of_an_animal_is_the_mean_over_its_sessions(pages):
    drawing = tracking_of_two(*both("tracking", tracking_rows))
    for model, network in product(("muscle_ppo", "torque_ppo"), range(N_NETWORKS)):
        parts = by_session(model, network)
        for animal, expected in (("anna", (parts["a1"] + parts["a2"]) / 2), ("bert", parts["b1"])):
            row = the(drawing.table, kind="network", group=model, seed=network, animal=animal)
            assert row["value"] == pytest.approx(expected, abs=1e-12)
    assert set(drawing.table.kind) == {"network", "mean", "test"}
    means = pick(drawing.table, kind="mean", group="torque_ppo", animal="bert")
    networks = pick(drawing.table, kind="network", group="torque_ppo", animal="bert")
    assert means.value.tolist() == [pytest.approx(networks.value.mean())]
    # all four networks of one model are above all of the other: U is 16, p is 2 in 70
    for animal in ("anna", "bert"):
        row = the(drawing.table, kind="test", animal=animal)
        assert (row["u"], row["p"]) == (16, pytest.approx(2 / 70))
    figure_of("planted", [Panel("3B", "Tracking.", (drawing,))]).render()
    assert_legible(pages)
    assert sum("U = 16, p = 0.029" in text for text, *_ in pages[-1].texts) == 2


def test_ev_by_animal_and_area_is_that_of_the_records(pages):
    drawing = ev_of_two(*both("encoding", encoding_rows))
    for model, k, animal, area in product(
        ("muscle_ppo", "torque_ppo"), range(N_NETWORKS), ("anna", "bert"), ("M1", "S1")
    ):
        row = the(drawing.table, kind="network", group=model, seed=k, animal=animal, area=area)
        assert row["value"] == ev(model, k, animal, area)
    figure_of("planted", [Panel("3C", "EV.", (drawing,))]).render()
    assert_legible(pages)


def test_one_animal_has_the_score_of_all():
    drawing = ev_of_two(*both("encoding", encoding_rows, sessions=SESSIONS[:2]))
    row = the(drawing.table, kind="network", group="muscle_ppo", seed=0, animal="anna", area="M1")
    assert row["value"] == ev("muscle_ppo", 0, "", "M1")


def test_mann_whitney_is_the_count_of_pairs_and_the_share_of_orders():
    first, second = [1.0, 4.0, 6.0, 7.0], [2.0, 3.0, 5.0]
    u = sum(a > b for a in first for b in second)
    pooled = first + second
    orders = [
        sum(pooled[i] > pooled[j] for i in chosen for j in range(7) if j not in chosen)
        for chosen in combinations(range(7), 4)
    ]
    middle = len(first) * len(second) / 2
    p = np.mean([abs(other - middle) >= abs(u - middle) for other in orders])
    found = mann_whitney(first, second)
    assert (found["u"], found["p"]) == (u, pytest.approx(p))


def test_two_networks_are_not_tested(pages):
    drawing = tracking_of_two(*both("tracking", tracking_rows, n_networks=2))
    tests = pick(drawing.table, kind="test")
    assert tests.p.isna().all() and set(tests.reason) == {"no test: 2 and 2 networks, fewer than 3"}
    figure_of("planted", [Panel("3B", "Tracking.", (drawing,))]).render()
    assert any("no test: 2 and 2 networks" in text for text, *_ in pages[-1].texts)


def test_decoding_by_animal_is_the_mean_over_its_sessions():
    networks = table_of("muscle_ppo", "brain-control", decoding_rows)
    parts = {
        (seed, s["id"], "M1", kind): 0.1 * k + 0.01 * seed + (kind == "embedding") / 3
        for seed, (k, s), kind in product(
            range(N_NETWORKS), enumerate(SESSIONS), ("embedding", "joint_angles")
        )
    }
    drawing = decoding_by_animal(networks, parts)
    for seed, kind in product(range(N_NETWORKS), ("embedding", "joint_angles")):
        of = {s["id"]: parts[seed, s["id"], "M1", kind] for s in SESSIONS}
        labels = {"kind": "network", "seed": seed, "group": kind.replace("_", " ")}
        assert the(drawing.table, **labels, animal="anna")["value"] == pytest.approx(
            (of["a1"] + of["a2"]) / 2
        )
        assert the(drawing.table, **labels, animal="bert")["value"] == pytest.approx(of["b1"])
    pooled = decoding_by_animal(networks, {})
    assert set(pooled.table.animal) == {"all"} and "All animals together" in pooled.picture.note
    assert the(pooled.table, kind="network", seed=2, group="embedding")["value"] == 0.52


def test_parts_that_are_not_those_of_the_record_are_refused():
    networks = table_of("muscle_ppo", "brain-control", decoding_rows)
    kinds = ("embedding", "joint_angles")
    parts = {
        (seed, s["id"], "M1", kind): 0.5 + seed / 100
        for seed, s, kind in product(range(N_NETWORKS), SESSIONS, kinds)
    }
    report._compare(networks, parts)
    parts[1, "b1", "M1", "embedding"] += 0.01
    with pytest.raises(
        NgbError, match=r"Decoding EV of M1 \(embedding, seed 1\) is 0.5150 .* and 0.51 in the"
    ):
        report._compare(networks, parts)


def test_learning_curves_are_those_of_the_cards(pages):
    curve = [{"steps": 0.0, "train": 30.0, "ood": 31.0}, {"steps": 1e5, "train": 9.0, "ood": 11.0}]
    longer = [*curve, {"steps": 2e5, "train": 5.0, "ood": 6.0}]
    drawing = learning(
        {"muscle_ppo": {0: curve, 1: longer}, HOSTILE: {0: curve}}, {"train": 12.3, "ood": 12.9}
    )
    of = pick(drawing.table, model="muscle_ppo", seed=1, split="ood")
    assert list(zip(of.steps, of.error_mm, strict=True)) == [(p["steps"], p["ood"]) for p in longer]
    assert the(drawing.table, kind="average_posture", split="train")["error_mm"] == 12.3
    figure_of("planted", [Panel("1E", "Learning.", (drawing,))]).render()
    assert any(text == HOSTILE for text, *_ in pages[-1].texts)  # as it is, not as a formula


class FlatBody:
    """A body of one joint, drawn as a square whose place is the angle."""

    joints, muscles = ("hinge",), ()

    def painter(self, width, height):
        def paint(angles, colour):
            picture = np.full((height, width, 3), 255, np.uint8)
            left = 10 + int(angles[0])
            picture[50:70, left : left + 20] = [int(255 * part) for part in colour]
            return picture

        return SimpleNamespace(paint=paint, close=lambda: None)


def trajectory(n_steps=40, first=5, stop=35):
    angles = np.arange(n_steps, dtype=float)[:, None]
    error = np.arange(n_steps) / 10
    steps = np.arange(n_steps)
    return Trajectory(
        FlatBody(), 0.02, (steps - first) * 0.02, (steps >= first) & (steps < stop), angles, angles, error,
        Movement(angles, error, None),
    )  # fmt: skip


def test_snapshots_span_the_scored_window(pages):
    drawing = snapshots(trajectory(), "simulated", "trial t")
    assert drawing.table.time_s.tolist() == pytest.approx([0, 0.14, 0.28, 0.44, 0.58])
    assert drawing.table.scored.all()
    figure_of("planted", [Panel("1F", "Postures.", (drawing,))]).render()
    assert_legible(pages)
    written = [text for text, *_ in pages[-1].texts]
    assert {"0.00 s", "0.58 s", "0.5 mm", "3.4 mm", "recorded", "simulated"} <= set(written)
    with pytest.raises(UnsupportedError, match="the scored window has 3 steps, fewer than 5"):
        snapshots(trajectory(stop=8), "simulated", "trial t")


def test_verdicts_are_drawn_in_their_smallest_effects(pages):
    row = {"name": "x", "claim": "C", "area": "M1", "statistic": "s", "unit": "", "verdict": "supported",
           "power": 0.9, "value": 0.02, "ci": (0.01, 0.03), "effect": 0.01, "reason": "", "remark": ""}  # fmt: skip
    absent = row | {"value": None, "ci": None, "effect": None, "reason": "no record"}
    drawing = verdicts([row, absent])
    assert len(drawing.table) == 1
    assert_row(drawing.table.iloc[0], row, "value")
    figure_of("planted", [Panel("5A", "Claims.", (drawing,))]).render()
    assert_legible(pages)
    with pytest.raises(UnsupportedError, match="none of the claims can be measured"):
        verdicts([absent])


def test_every_format_is_the_same_again_with_its_fonts_inside():
    drawing = learning({"m": {0: [{"steps": 0.0, "train": 3.0}, {"steps": 1.0, "train": 2.0}]}}, {})
    picture = figure_of("planted", [Panel("1E", "Learning.", (drawing,))])
    for kind in ("pdf", "svg", "png"):
        assert picture.render(kind) == picture.render(kind)
    pdf = picture.render("pdf")
    fonts = len(re.findall(rb"/Type /Font\b(?!D)", pdf))
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf and fonts
    assert len(re.findall(rb"/FontFile2", pdf)) == len(re.findall(rb"/Type /FontDescriptor", pdf))
    assert b"<svg" in picture.render("svg")


def test_stages_are_read_and_never_made(tmp_path):
    made = StageFolder(tmp_path / "stages").keep("fit", {"seed": 1}, lambda: {"x": np.arange(3)})
    kept = Kept((tmp_path / "elsewhere", tmp_path / "stages"))
    assert kept.keep("fit", {"seed": 1}, pytest.fail)["x"].tolist() == made["x"].tolist()
    for inputs in ({"seed": 2}, None):
        with pytest.raises(UnsupportedError, match="no stage fit of this network and code in"):
            kept.keep("fit", inputs, pytest.fail)


# --- the whole report -----------------------------------------------------------------------------


@pytest.fixture
def registry(monkeypatch):
    """Known names, and a dataset that is nowhere."""
    known = load_registry()
    models = [Provided(ModelSpec(name, None, "", controller=True), CORE, "1.0") for name in claimed.ENCODED]
    planted = SimpleNamespace(spec=SimpleNamespace(name="planted"))
    fake = SimpleNamespace(
        model=lambda name: models[0],
        models=lambda: models,
        decoder=known.decoder,
        datasets=lambda: (planted,),
    )

    def absent(*arguments, **options):
        raise NgbError("There is no dataset 'planted' here; name a file.")

    monkeypatch.setattr("neurobench_grasp.run.report.load_registry", lambda: fake)
    monkeypatch.setattr("neurobench_grasp.run.workspace.load_dataset", absent)


def write(folder, scored):
    for one in scored:
        write_record(folder / "records", one.record)


@pytest.fixture
def runs(tmp_path):
    """A run folder with records by every protocol."""
    folder = tmp_path / "run"
    for table in (*both("tracking", tracking_rows), *both("encoding", encoding_rows)):
        write(folder, table.networks)
    write(folder, table_of("muscle_ppo", "brain-control", decoding_rows).networks)
    return folder


def commands(text):
    return re.findall(r"`(ngb [^`]+)`", text)


def parses(command):
    """Whether the command line understands a command; it is not performed."""
    words = command.split()[1:]
    found = get_command(app)
    while hasattr(found, "commands") and words:
        found = found.commands[words.pop(0)]
    found.make_context("ngb", words)
    return True


def test_missing_panels_name_commands_that_can_be_run(runs, registry, tmp_path):
    made = make_report([runs], to=tmp_path / "report")
    assert {"1F", "2A–B", "4D", "4E", "5B"} <= set(made.missing)
    for letter in ("1F", "2A–B", "4E", "5B"):
        (command,) = commands(made.missing[letter])
        assert str(runs) in command and parses(command)
    assert "--protocol brain-control-curves" in made.missing["4E"]
    assert "ngb recovery --out" in made.missing["5B"]
    html = Links(made.page.read_text()).text
    named = set(commands(html))
    assert len(named) > 5 and all(map(parses, named))
    for letter, reason in made.missing.items():
        assert letter in html and (commands(reason) or letter == "5A")  # the claims have their own reasons
    assert set(made.figures) == {"3", "4"}


class Links(HTMLParser):
    """Addresses of a page, its elements and its text."""

    def __init__(self, html):
        super().__init__()
        self.addresses, self.tags, self.handlers, self.text = [], set(), [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            self.handlers += [name] if name.startswith("on") else []
            if name in ("src", "href", "srcset", "data", "action", "poster", "background"):
                self.addresses.append(value)

    def handle_data(self, data):
        self.text += data


def test_the_page_needs_nothing_outside_and_escapes_names(registry, tmp_path):
    folder = tmp_path / "run"
    hostile = [{**s, "subject": HOSTILE + s["subject"]} for s in SESSIONS]

    def rows(model, network):
        return [
            row | ({"subject": HOSTILE + row["subject"]} if "subject" in row else {}) | {"area": HOSTILE}
            for row in encoding_rows(model, network)
            if row["area"] == "M1"
        ]

    for table in (
        *both("encoding", rows, sessions=hostile),
        *both("tracking", tracking_rows, sessions=hostile),
    ):
        for one in table.networks:
            provenance = {**one.record.provenance, "ngb": HOSTILE}
            dataset = {**one.record.dataset, "id": HOSTILE}
            write_record(folder / "records", replace(one.record, dataset=dataset, provenance=provenance))
    made = make_report([folder], to=tmp_path / "report")
    html = made.page.read_text()
    found = Links(html)
    assert HOSTILE in found.text and "&lt;script&gt;" in html
    assert not found.handlers and not found.tags & {"script", "link", "iframe", "object", "embed", "svg"}
    assert found.addresses and all(a.startswith("data:image/svg+xml;base64,") for a in found.addresses)
    assert "url(" not in html and "@import" not in html and "default-src 'none'" in html
    for address in found.addresses:
        svg = base64.b64decode(address.partition(",")[2]).decode()
        links = re.findall(r'(?:href|src)="([^"]*)"', svg)
        assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
        assert "<script" not in svg and "<img" not in svg


def test_the_command_writes_all_formats_and_replaces_an_older_report(runs, registry, tmp_path):
    to = tmp_path / "report"
    to.mkdir()
    for name in ("figure_5.pdf", "panel_9X_old.csv", "notes.txt"):
        (to / name).write_text("older")
    result = CliRunner().invoke(app, ["report", str(runs), "--to", str(to), "--json"])
    assert result.exit_code == 0, result.stderr
    made = json.loads(result.stdout)
    for paths in made["figures"].values():
        assert [path.rpartition(".")[2] for path in paths] == ["pdf", "svg", "png"]
    written = {path.name for path in to.iterdir()}
    expected = {p.rpartition("/")[2] for paths in made["figures"].values() for p in paths}
    assert written - expected - {"report.html", "notes.txt"} == {
        p.rpartition("/")[2] for p in made["tables"].values()
    }
    assert "notes.txt" in written and "panel_9X_old.csv" not in written
    data = pd.read_csv(made["tables"]["3B_tracking_by_animal"])
    assert the(data, kind="test", animal="bert")["u"] == 16
    again = {path.name: path.read_bytes() for path in to.iterdir()}
    assert CliRunner().invoke(app, ["report", str(runs), "--to", str(to)]).exit_code == 0
    assert {path.name: path.read_bytes() for path in to.iterdir()} == again


def test_records_on_several_datasets_need_a_choice(runs, registry, tmp_path):
    other = claimed.records("muscle_ppo", "tracking", rows=[tracking_rows("muscle_ppo", 0)], n_networks=1,
                            id="other", sha256="dd" * 32)  # fmt: skip
    write(runs, other)
    result = CliRunner().invoke(app, ["report", str(runs), "--to", str(tmp_path / "report")])
    assert result.exit_code == 1 and "choose one with --dataset" in " ".join(result.stderr.split())
    one = make_report([runs], dataset="other", to=tmp_path / "report")
    assert "on other" in one.title


def test_without_records_the_first_command_is_named(registry, tmp_path):
    (tmp_path / "records").mkdir()
    command = rf"`ngb score -m muscle_ppo -m torque_ppo --seeds 5 --out {tmp_path}`"
    with pytest.raises(NgbError, match=rf"{tmp_path} has no records; score them first: {command}"):
        make_report([tmp_path], to=tmp_path / "report")
    with pytest.raises(NgbError, match="there is no folder"):
        make_report([tmp_path / "nowhere"], to=tmp_path / "report")


def test_the_recovery_of_the_run_folder_is_drawn(runs, registry, tmp_path, pages):
    names, seeds = ("muscle_ppo", "torque_ppo"), (100, 101)
    alike = {"recovered": True, "untrained": False, "ci_low": 0.1, "ci_high": 0.3}
    cells = [
        {"teacher": teacher, "teacher_seed": seed, "quantity": "ev", "candidate": candidate,
         "own": teacher == candidate, "value": 0.2 + k / 1000, **alike}
        for k, (teacher, seed, candidate) in enumerate(product(names, seeds, names))
    ]  # fmt: skip
    gained = {"muscle_ppo": 0.0125, "torque_ppo": 0.0013}  # numbers with many digits
    compared = [
        {"teacher": teacher, "teacher_seed": seed, "quantity": quantity, "candidate": candidate,
         "other": "torque_ppo", "own": False, "value": gained[candidate], **alike, "ci_low": None, "ci_high": None}
        for quantity, candidates in (("raw", names[:1]), ("gain", names), ("contrast", names[:1]))
        for teacher, seed, candidate in product(names, seeds, candidates)
    ]  # fmt: skip
    table = pd.DataFrame([*cells, *compared])
    (runs / "recovery").mkdir()
    table.to_csv(runs / "recovery" / "recovery.csv", index=False)
    made = make_report([runs], to=tmp_path / "report")
    pd.testing.assert_frame_equal(pd.read_csv(made.tables["5B_recovery"]), table)
    assert_legible(pages[-1:])
    written = "\n".join(text for text, *_ in pages[-1].texts)
    assert all(f"{cell['value']:.3f}\n[0.100, 0.300]" in written for cell in cells)


def test_a_table_that_is_no_recovery_is_a_missing_panel(runs, registry, tmp_path):
    (runs / "recovery.csv").write_text("a,b\n1,2\n")
    made = make_report([runs], to=tmp_path / "report")
    assert "recovery.csv is not a table of `ngb recovery`" in made.missing["5B"]


def test_animals_are_those_of_the_record():
    assert animals(table_of("muscle_ppo", "tracking", tracking_rows)) == {
        "anna": ["a1", "a2"],
        "bert": ["b1"],
    }
