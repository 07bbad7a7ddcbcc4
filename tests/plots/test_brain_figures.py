import json
from dataclasses import replace
from types import SimpleNamespace

import compared
import numpy as np
import pandas as pd
import pytest
from pictures import assert_legible, assert_row, pick, table, the, watch
from PIL import Image
from planted import aligned_session, row_of, with_units
from typer.testing import CliRunner

from neurobench_grasp.alignment.splits import make_splits
from neurobench_grasp.bodies.myohand import JOINTS
from neurobench_grasp.cli import app
from neurobench_grasp.contract import ModelSpec, Ragged, ScoreRecord
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.plugins import CORE, Provided, load_registry
from neurobench_grasp.records import Scored
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.run import figures
from neurobench_grasp.run.dataset import Dataset
from neurobench_grasp.run.figures import draw_figures
from neurobench_grasp.scoring.intervals import UnitScores, summarise

SESSIONS = {"monday": ("M1",) * 7 + ("S1",) * 12, "tuesday": ("M1",) * 13 + ("S1",) * 12}
KINDS = {"embedding": "", "joint_angles": "_joint_angles"}
REFERENCES = ("intact", "average_trajectory", "average_posture", "decoded_posture", "shifted_spikes")
N_DIMENSIONS = 6
POINTS = [
    ("1", 0.0),
    ("2", 0.0),
    ("5", 0.0),
    ("10", 0.0),
    *(("all", noise) for noise in (0.0, 0.25, 0.5, 1.0)),
]
FEW = "interval for the conditions seen here only: too few to generalise"
DRAWN = {"decoding", "brain_control", "curves"}


def session_of(name, areas):
    rng = np.random.default_rng(len(areas))
    n_trials, n_steps = 20, 5
    rates = rng.standard_normal((n_trials, n_steps, len(areas)))
    latents = rng.standard_normal((n_trials, n_steps + 20, 2))
    session = aligned_session(
        latents, rates, [f"object_{i % 10}" for i in range(n_trials)], name=name, subject=name, areas=areas
    )
    recorded = np.ones((n_trials, len(areas)), bool)
    recorded[:11, 0] = False  # the first unit was not recorded in most trials, and is not decoded from
    angles = Ragged(np.zeros((len(session.trials.signals["latents"].values), 23)), session.trials.offsets)
    trials = replace(session.trials, joint_angles=angles)
    return replace(with_units(session, recorded=recorded), trials=trials, sha256=f"{len(areas):064d}")


@pytest.fixture(scope="module")
def data():
    sessions = tuple(session_of(*session) for session in SESSIONS.items())
    return Dataset("planted", "", True, sessions, make_splits({s.id: s.conditions for s in sessions}))


@pytest.fixture(autouse=True)
def patched(data, monkeypatch):
    """Planted data, and a model that is never asked to do anything."""
    known = load_registry()
    model = Provided(ModelSpec("hand", None, "", controller=True), CORE, "1.0")
    registry = SimpleNamespace(
        model=lambda name: model, protocol=known.protocol, decoder=known.decoder, datasets=lambda: ()
    )
    monkeypatch.setattr("neurobench_grasp.run.figures.load_registry", lambda: registry)
    monkeypatch.setattr("neurobench_grasp.run.workspace.load_dataset", lambda *arguments, **options: data)
    monkeypatch.setattr("neurobench_grasp.plots.style._DPI", 100)  # which takes a third of the time


@pytest.fixture
def pages(monkeypatch):
    return watch(monkeypatch)


def number(rng, low, high, **labels):
    value = rng.uniform(low, high)
    return labels | {"value": value, "ci": [value - rng.uniform(0, 0.3), value + rng.uniform(0, 0.3)]}


def brain_rows(seed, areas=("M1", "S1"), splits=("test", "ood")):
    """Rows as the protocol ``brain-control`` gives them."""
    rng = np.random.default_rng(seed)
    rows = []
    for area in areas:
        for split in splits:
            for kind, suffix in KINDS.items():
                labels = {"split": split, "area": area, "decoded": kind}
                error = labels | {"metric": f"brain_control_error{suffix}"}
                rows.append(number(rng, 6, 9, **error))
                rows += [number(rng, 6, 9, **error, session=name) for name in SESSIONS]
                of = REFERENCES if kind == "embedding" else ()
                rows += [number(rng, 3, 15, **error, reference=name) for name in of]
                labels["metric"] = f"decoding_ev{suffix}"
                rows.append(number(rng, 0.4, 0.6, **labels))
                names = map(str, range(N_DIMENSIONS)) if kind == "embedding" else JOINTS
                rows += [number(rng, 0.1, 0.9, **labels, dimension=name) for name in names]
    return rows


def curve_rows(seed, areas=("M1", "S1"), splits=("test",)):
    """Rows as the protocol ``brain-control-curves`` gives them."""
    rng = np.random.default_rng(seed)
    return [
        number(rng, 6, 14, split=split, area=area, decoded=kind, metric=f"brain_control_error{suffix}",
               n_decoded_units=n, noise=noise)
        for split in splits
        for area in areas
        for kind, suffix in KINDS.items()
        for n, noise in POINTS
    ]  # fmt: skip


def hand_scores(seed):
    """Errors of each session's hand in M1 on test under a decoded embedding, with conditions left out."""
    rng = np.random.default_rng(100 + seed)
    parts = [
        compared.of_means(7 + seed + rng.standard_normal((8, 1)), session=name, subject=name, units=["hand"])
        for name in SESSIONS
    ]
    return UnitTable.of((Labels("M1", "test", "brain_control_error", ""), part) for part in parts)


def record(data, rows, protocol="brain-control", seed=0, units=None, decoder="ridge (1.0)", **changes):
    made = ScoreRecord(
        model="hand",
        seed=seed,
        dataset={
            "id": "planted",
            "sha256": data.sha256,
            "splits": data.splits.sha256,
            "synthetic": True,
            "folds": data.folds_sha256,
        },
        protocol={"name": protocol, "version": 1, "settings": {"decoder": decoder}},
        scores=rows,
        dropped=[],
        provenance={"date": "2026-01-01"},
    )
    return Scored(replace(made, **changes), units or UnitTable({}))


def both(data, seeds=(0,)):
    """Records of some networks by both protocols."""
    for seed in seeds:
        yield record(data, brain_rows(seed), seed=seed, units=hand_scores(seed))
        curves = curve_rows(seed, splits=("test", "ood"))
        yield record(data, curves, "brain-control-curves", seed=seed)


def draw(folder, *records, **options):
    compared.write(folder / "records", *records)
    return draw_figures("hand", "planted", out=folder, **options)


def without_value(rows, reason, **labels):
    """The same rows, where those with some labels have a reason in place of a number."""
    return [
        {k: v for k, v in row.items() if k != "ci"} | {"value": None, "reason": reason}
        if row.items() >= labels.items()
        else row
        for row in rows
    ]


def text_of(page):
    return " ".join(" ".join(text.split()) for text, _, _ in page.texts)


def test_numbers_drawn_are_those_of_the_records(data, pages, tmp_path, monkeypatch):
    monkeypatch.setattr("neurobench_grasp.plots.style._DPI", 300)
    drawn = draw(tmp_path, *both(data))
    assert set(drawn.files) == DRAWN and drawn.title == "hand (seed 0) on planted (synthetic self-test)"
    rows = brain_rows(0)
    decoding, control, curves = (table(drawn, name) for name in ("decoding", "brain_control", "curves"))
    for row in (r for r in rows if r["metric"].startswith("decoding_ev")):
        where = {key: row[key] for key in ("area", "split", "decoded")}
        assert_row(the(decoding, dimension=row.get("dimension", "all"), **where), row)
    assert len(decoding) == 2 * 2 * (1 + N_DIMENSIONS + 1 + len(JOINTS))
    errors = [r for r in rows if "error" in r["metric"]]
    for row in errors:
        where = {key: row[key] for key in ("area", "split", "decoded")}
        reference, session = (control[key].fillna("") for key in ("reference", "session"))
        mine = (reference == row.get("reference", "")) & (session == row.get("session", ""))
        assert_row(the(control[mine], **where), row, "error_mm")
    assert len(control) == len(errors) == 2 * 2 * (7 + 2 * len(SESSIONS))
    points = curve_rows(0, splits=("test", "ood"))
    for row in points:
        where = {k: row[k] for k in ("area", "split", "decoded", "n_decoded_units", "noise")}
        assert_row(the(curves, **where), row, "error_mm")
    for name in ("intact", "average_trajectory", "average_posture"):
        expected = row_of(rows, "brain_control_error", "test", area="S1", reference=name)
        assert_row(the(curves, area="S1", split="test", reference=name), expected, "error_mm")
    assert len(curves) == len(points) + 2 * 2 * 3
    # all units stand at their number: 6 and 12 of M1, 12 and 12 of S1
    places = curves.groupby(["area", "n_decoded_units"]).mean_n_units.unique()
    assert (places["M1", "all"], places["S1", "all"], places["M1", "10"]) == ([9.0], [12.0], [10.0])
    written = text_of(pages[-1])
    assert "all (6 to 12)" in written and "all (12)" in written
    assert "mean over the sessions that have more" in written
    assert_legible(pages)
    for name, (png, csv) in drawn.files.items():
        with Image.open(png) as picture:
            assert picture.width == 2130 and np.array(picture.convert("L")).std() > 10, name
        assert csv.read_text().startswith("model,dataset,decoder,area,split,")
        assert set(table(drawn, name).decoder.dropna()) == {"ridge (1.0)"}


def test_several_networks_are_means_and_dots(data, pages, tmp_path):
    drawn = draw(tmp_path, *both(data, (0, 1, 2)))
    assert_legible(pages)
    records = [brain_rows(seed) for seed in range(3)]
    decoding, control, curves = (table(drawn, name) for name in ("decoding", "brain_control", "curves"))
    joint = pick(decoding, area="M1", split="ood", dimension="mcp2_flexion")
    single = [row_of(rows, "decoding_ev_joint_angles", dimension="mcp2_flexion") for rows in records]
    assert pick(joint, kind="network").ev.tolist() == pytest.approx([row["value"] for row in single])
    mean = {
        "value": np.mean([r["value"] for r in single]),
        "ci": np.mean([r["ci"] for r in single], axis=0).tolist(),
    }
    assert_row(the(joint, kind="mean"), mean)
    dimensions = decoding[(decoding.decoded == "embedding") & (decoding.dimension != "all")]
    assert set(dimensions.kind) == {"network"}  # each network has a different embedding
    assert len(dimensions) == 2 * 2 * 3 * N_DIMENSIONS
    # scores of single hands are kept of one row: its interval contains the variance over networks
    units = [hand_scores(seed).scores[Labels("M1", "test", "brain_control_error", "")] for seed in range(3)]
    total = summarise([UnitScores.mean_of(parts) for parts in zip(*units, strict=True)])
    row = the(control, area="M1", split="test", decoded="embedding", kind="model")
    found = [row["error_mm"], row["error_mm_ci_low"], row["error_mm_ci_high"]]
    assert found == pytest.approx([total.value, *total.ci], abs=1e-5)  # they are kept in single precision
    assert total.draw_se > 0.3
    shifted = pick(control, area="M1", split="test", name="shifted spikes (null)")
    single = [
        row_of(rows, "brain_control_error", "test", reference="shifted_spikes")["value"] for rows in records
    ]
    assert shifted[shifted.kind == "network"].error_mm.tolist() == pytest.approx(single)
    assert the(shifted, kind="reference")["error_mm"] == pytest.approx(np.mean(single))
    point = pick(curves, area="S1", split="test", decoded="embedding", n_decoded_units="2")
    assert sorted(point.kind) == ["mean", "network", "network", "network"]
    assert the(point, kind="mean")["error_mm"] == pytest.approx(
        point[point.kind == "network"].error_mm.mean()
    )


def test_curves_without_the_other_record_have_no_lines(data, pages, tmp_path):
    drawn = draw(tmp_path, record(data, curve_rows(0), "brain-control-curves"))
    assert set(drawn.files) == {"curves"} and "reference" not in table(drawn, "curves")
    assert "these networks lack a record by the protocol brain-control" in text_of(pages[-1])
    # a record of another network does not serve
    other = draw(tmp_path, record(data, brain_rows(1), seed=1))
    assert "these networks lack a record by the protocol brain-control" in text_of(pages[-1])
    assert set(table(other, "decoding").seed.dropna()) == {1} and other.title.startswith("hand (seed 1)")


def test_what_has_no_record_is_left_out_with_the_command(data, tmp_path):
    drawn = draw(tmp_path, record(data, brain_rows(0)))
    assert set(drawn.files) == {"decoding", "brain_control"}
    score = f"`ngb score --model hand --dataset planted --out {tmp_path}"
    assert drawn.left_out["curves"].endswith(f"{score} --curves` makes it")
    assert drawn.left_out["scores"].endswith(f"{score} --protocol encoding` makes it")
    assert drawn.left_out["scores"].startswith("no record of hand on this dataset by the protocol encoding")
    for name in ("gains", "layers", "units"):
        assert drawn.left_out[name] == drawn.left_out["scores"]


def test_the_command_tells_reasons_once(data, tmp_path, monkeypatch):
    def no_figure(networks):
        raise UnsupportedError("not here")

    for name in ("decoding", "brain_control"):
        monkeypatch.setattr(figures, name, no_figure)
    compared.write(tmp_path / "records", record(data, brain_rows(0)))
    arguments = ["figures", "--model", "hand", "--dataset", "planted", "--out", str(tmp_path)]
    printed = CliRunner().invoke(app, arguments)
    assert printed.exit_code == 0, printed.stderr
    assert "no scores, gains, layers, units: no record of hand" in printed.stdout
    assert "no decoding, brain_control: not here" in printed.stdout
    assert printed.stdout.count("by the protocol encoding") == 1
    result = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert len(result["left_out"]) == 11 and result["left_out"]["decoding"] == "not here"


def test_one_area_on_new_trials_alone(data, pages, tmp_path):
    rows = brain_rows(0, ("M1",), ("test",)) + without_value(
        brain_rows(0, ("M1",), ("ood",)), "the split ood has no trials", area="M1"
    )
    drawn = draw(tmp_path, record(data, rows), record(data, curve_rows(0, ("M1",)), "brain-control-curves"))
    assert set(drawn.files) == DRAWN
    assert_legible(pages)
    for name in DRAWN:
        assert set(table(drawn, name).area) == {"M1"}
    control = table(drawn, "brain_control")
    assert (
        pick(control, split="ood").error_mm.isna().all()
        and pick(control, split="test").error_mm.notna().all()
    )
    for page in pages[:2]:
        assert "Left out: M1 on ood (the split ood has no trials)." in text_of(page)
        assert "held-out conditions" not in text_of(page)


def test_rows_without_a_number_give_their_reason(data, pages, tmp_path):
    rows = without_value(brain_rows(0), "monday: S1 has 1 unit", area="S1")
    rows = without_value(rows, "it does not vary in this split", dimension="pro_sup", area="M1", split="ood")
    rows = [row | {"reason": FEW} if row["area"] == "M1" and row["split"] == "ood" and "reason" not in row
            else row for row in rows]  # fmt: skip
    curves = [row for row in curve_rows(0) if row["area"] == "M1"]
    curves = without_value(curves, "no trials", n_decoded_units="5", decoded="embedding")
    labels = {"metric": "brain_control_error", "split": "test", "area": "S1", "decoded": "embedding"}
    curves.append(labels | {"value": None, "reason": "monday: S1 has 1 unit"})
    drawn = draw(tmp_path, record(data, rows), record(data, curves, "brain-control-curves"))
    assert_legible(pages)
    decoding, control, curve = (table(drawn, name) for name in ("decoding", "brain_control", "curves"))
    assert set(pick(control, area="S1").reason) == {"monday: S1 has 1 unit"}
    still = the(decoding, area="M1", split="ood", dimension="pro_sup")
    assert pd.isna(still["ev"]) and still["reason"] == "it does not vary in this split"
    of_decoding, of_control, of_curves = map(text_of, pages)
    absent = "Left out: S1 on test and ood (monday: S1 has 1 unit)."
    assert absent in of_decoding and absent in of_control
    assert "Left out: pro_sup of M1 on ood (it does not vary in this split)." in of_decoding
    assert f"{FEW[0].upper()}{FEW[1:]}." in of_control
    assert "Left out: S1 on test (monday: S1 has 1 unit)." in of_curves
    assert "Left out: embedding by 5 units of M1 on test (no trials)." in of_curves
    assert len(curve[curve.area == "S1"].query("kind == 'mean'")) == 1


def test_without_any_number_the_reason_takes_the_place_of_the_figure(data, tmp_path):
    reason = "monday: the session has no joint angles of a body to decode"
    nothing = [{"metric": "brain_control_error", "area": "M1", "split": "test", "decoded": "embedding",
                "value": None, "reason": reason}]  # fmt: skip
    drawn = draw(
        tmp_path,
        record(data, without_value(brain_rows(0), reason)),
        record(data, nothing, "brain-control-curves"),
    )
    assert drawn.files == {} and {drawn.left_out[name] for name in DRAWN} == {reason}


def test_decoding_far_below_zero_leaves_the_rest_legible(data, pages, tmp_path):
    rows = [
        row | {"value": -30.0, "ci": [-60.0, -1.0]} if row.get("dimension") in ("flexion", "2") else row
        for row in brain_rows(0)
    ]
    drawn = draw(tmp_path, record(data, rows))
    assert the(table(drawn, "decoding"), dimension="flexion", area="M1", split="ood")["ev"] == -30
    written = text_of(pages[0])
    assert "Below the axis (triangles): 8 numbers." in written and "−30" not in written
    assert "Intervals that reach an end of the axis go on beyond it." in written


def test_the_decoder_of_the_newest_record_is_drawn_and_named(data, pages, tmp_path):
    new = record(data, brain_rows(1), decoder="kalman (2.0)", provenance={"date": "2027-01-01"})
    drawn = draw(tmp_path, record(data, brain_rows(0)), new)
    assert set(table(drawn, "decoding").decoder) == {"kalman (2.0)"}
    assert "Decoder: kalman (2.0)." in text_of(pages[0])
    expected = row_of(brain_rows(1), "brain_control_error", "test")
    row = the(table(drawn, "brain_control"), area="M1", split="test", kind="model", decoded="embedding")
    assert_row(row, expected, "error_mm")


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes(data, tmp_path):
    first, again = (draw(tmp_path / name, *both(data)) for name in ("one", "two"))
    for name in DRAWN:
        for one, other in zip(first.files[name], again.files[name], strict=True):
            assert one.read_bytes() == other.read_bytes(), name
