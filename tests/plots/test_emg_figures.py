from dataclasses import replace
from types import SimpleNamespace

import compared
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from pictures import assert_legible, assert_row, pick, table, the, watch
from planted import PAD, aligned_session
from scipy.stats import spearmanr

from neurobench_grasp.alignment.muscles import RecordedMuscles
from neurobench_grasp.alignment.splits import make_splits
from neurobench_grasp.bodies import find_body
from neurobench_grasp.contract import ModelSpec, Ragged, ScoreRecord
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import CORE, Provided, load_registry
from neurobench_grasp.protocols.emg.activation import CANDIDATE, STATIC, Muscles
from neurobench_grasp.records import Scored
from neurobench_grasp.records.names import GROUPS
from neurobench_grasp.records.units import CEILING, Labels, UnitTable
from neurobench_grasp.run.dataset import Dataset
from neurobench_grasp.run.figures import draw_figures
from neurobench_grasp.scoring.intervals import UnitScores

DRAWN = {"emg_tuning", "emg_matrix", "emg_neurons"}
N_DIRECTIONS, N_REPEATS, N_STEPS = 8, 10, 25  # as many steps as phases
WRIST = {"ECRl": ("ECRL",), "FCR": ("FCR",), "FCU": ("FCU",), "FDS": ("FDS2", "FDS3")}
PREFERRED = {"ECRl": 135.0, "FCR": 0.0, "FCU": -45.0, "FDS": 45.0}
BY = 45.0
"""Degrees by which the model's activation is turned against EMG."""
NO_MUSCLE = "the model moves joints by motors, so it activates no muscle"


def planted_muscles(channels=WRIST, body="isometric_wrist", preferred=PREFERRED):
    """Muscles that are active by the cosine of a direction; the endpoint moves out to eight directions."""
    rng = np.random.default_rng(0)
    n = N_DIRECTIONS * N_REPEATS
    target = np.arange(n) % N_DIRECTIONS
    angle = np.radians(45.0 * target)
    course = np.concatenate([np.zeros(PAD), np.linspace(0, 1, N_STEPS), np.ones(PAD)])
    way = 0.015 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    plain = aligned_session(
        np.zeros((n, N_STEPS + 2 * PAD, 1)), np.zeros((n, N_STEPS, 1)), [f"to {k}" for k in target]
    )
    angles = Ragged((course[None, :, None] * way[:, None]).reshape(-1, 2), plain.trials.offsets)
    signal = SimpleNamespace(role="emg", columns=tuple(channels))
    recording = SimpleNamespace(session=SimpleNamespace(body=body, signals={"emg": signal}, endpoint=None))
    session = replace(plain, trials=replace(plain.trials, joint_angles=angles), recording=recording)

    def tuned(turn, noise=0.0):
        towards = np.radians(np.array([*preferred.values()]) + turn)
        size = np.maximum(np.cos(angle[:, None] - towards), 0.0) + 0.1
        active = course[None, :, None] * size[:, None]
        return active * (1 + noise * rng.standard_normal(active.shape))

    wrist = find_body("isometric_wrist")
    places = tuple(tuple(wrist.muscles.index(m) for m in muscles) for muscles in channels.values())
    emg = tuned(0.0, 0.1)[:, PAD:-PAD].reshape(-1, len(channels))
    recorded = RecordedMuscles(
        Ragged(20 * emg, N_STEPS * np.arange(n + 1)), tuple(channels), places, ("EDCr",)
    )
    activation = {}
    for source, turn in ((CANDIDATE, BY), (STATIC, 2 * BY)):
        every = np.zeros((len(session.scored.joint_angles.values), len(wrist.muscles)))
        columns = tuned(turn).reshape(-1, len(channels))
        for k, muscles in enumerate(places):
            every[:, muscles] = 0.3 * columns[:, [k]]
        activation[source] = [Ragged(every, session.scored.offsets)]
    return Muscles(session, 0, recorded, recorded.activity, activation, {})


@pytest.fixture
def muscles():
    return planted_muscles()


@pytest.fixture
def drawn_figures(monkeypatch):
    """Figures that are saved, and what is written in them."""
    saved = SimpleNamespace(figures={}, pages=watch(monkeypatch))
    measure = Figure.savefig

    def keep(figure, file, **options):
        measure(figure, file, **options)
        name = "emg_tuning" if any(isinstance(a, PolarAxes) for a in figure.findobj(Axes)) else "emg_neurons"
        name = "emg_matrix" if any(a.images for a in figure.findobj(Axes)) else name
        saved.figures[name] = figure, saved.pages[-1]

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def written(saved, name):
    return " ".join(" ".join(text.split()) for text, _, _ in saved.figures[name][1].texts)


def axes_of(saved, name):
    return saved.figures[name][0].findobj(Axes)


ADDED = ("emg", "shifted_emg", "activation", "static_optimisation", "permuted_muscles")


def added_rows(seed):
    """What the groups of the protocol add, as its rows: each with its own number."""
    rng = np.random.default_rng(seed)
    for area in ("M1", "S1"):
        for split in ("test", "ood"):
            for group in ADDED:
                value = rng.uniform(-0.03, 0.05)
                of = {"metric": "added_ev", "of": "single_trial_ev", "split": split, "area": area}
                ci = [value - 0.01, value + 0.02] if split == "test" else None
                yield of | {"group": group, "value": value, "ci": ci, "n_units": 10}


def correlations(muscles, trials, source):
    """Correlations over all steps of the mean course of each condition, by hand."""
    labels = [muscles.session.trials.condition[i] for i in trials]
    courses = muscles.recorded.activity if source is None else muscles.by_channel(source)[0]
    means = [
        np.mean([courses[i] for i, label in zip(trials, labels, strict=True) if label == condition], axis=0)
        for condition in sorted(set(labels))
    ]
    return np.corrcoef(np.concatenate(means).T)


def repeated(muscles, trials):
    """Those of conditions that have two."""
    labels = [muscles.session.trials.condition[i] for i in trials]
    return [i for i, label in zip(trials, labels, strict=True) if labels.count(label) > 1]


def rsa(muscles, trials, source):
    below = np.tril_indices(len(muscles.recorded.channels), -1)
    return spearmanr(*(correlations(muscles, trials, s)[below] for s in (None, source))).statistic


@pytest.fixture
def draw(monkeypatch, tmp_path):
    """Draw records of a model whose muscles are given; gives what was drawn, and the trials that RSA is of."""

    def drawn(muscles, rows=None, seeds=(0,), scored=None):
        session = muscles.session
        splits = make_splits({session.id: session.conditions})
        data = Dataset("planted", "", True, (session,), splits)
        known = load_registry()
        model = Provided(ModelSpec("wrist", None, ""), CORE, "1.0")
        registry = SimpleNamespace(
            model=lambda name: model, protocol=known.protocol, decoder=known.decoder, datasets=lambda: ()
        )
        monkeypatch.setattr("neurobench_grasp.run.figures.load_registry", lambda: registry)
        monkeypatch.setattr("neurobench_grasp.run.workspace.load_dataset", lambda *a, **o: data)
        monkeypatch.setattr("neurobench_grasp.plots.style._DPI", 100)
        monkeypatch.setattr(Muscles, "of", lambda context, session: muscles)
        test = repeated(muscles, [session.trials.ids.index(i) for i in splits[0].test[session.id]])
        source = CANDIDATE if CANDIDATE in muscles.activation else STATIC
        rsa_of_all = rsa(muscles, test, source) if scored is None else scored
        units = UnitTable.of(
            (
                Labels("", "test", "muscle_rsa", name),
                UnitScores(session.id, session.subject, ("muscles",), np.array([value]), {}),
            )
            for name, value in ((source, rsa_of_all), (CEILING, 0.91))
        )
        for seed in seeds:
            record = ScoreRecord(
                model="wrist",
                seed=seed,
                dataset={
                    "id": "planted",
                    "sha256": data.sha256,
                    "splits": data.splits.sha256,
                    "synthetic": True,
                    "folds": data.folds_sha256,
                },
                protocol={"name": "emg", "version": 1, "settings": {}},
                scores=list(added_rows(seed)) if rows is None else rows,
                dropped=[],
                provenance={"date": "2026-01-01"},
            )
            compared.write(tmp_path / "records", Scored(record, units))
        return draw_figures("wrist", "planted", out=tmp_path), test

    return drawn


def test_tuning_is_the_mean_by_direction_over_its_maximum(muscles, draw, drawn_figures):
    drawn, _ = draw(muscles)
    data = table(drawn, "emg_tuning")
    assert len(data) == len(WRIST) * 2 * N_DIRECTIONS
    labels = np.array(muscles.session.trials.condition)
    for k, channel in enumerate(WRIST):
        for source, courses in (
            ("recorded EMG", muscles.recorded.activity),
            ("the model’s muscle activation", muscles.by_channel(CANDIDATE)[0]),
        ):
            mine = pick(data, channel=channel, source=source)
            means = np.array([
                np.mean([courses[i][:, k].mean() for i in np.flatnonzero(labels == c)]) for c in mine.condition
            ])  # fmt: skip
            assert mine.relative_activity.to_numpy() == pytest.approx(means / means.max())
            best = mine.loc[mine.relative_activity.idxmax()]
            turned = PREFERRED[channel] + (BY if source != "recorded EMG" else 0)
            assert best.direction_deg == pytest.approx(turned, abs=1) and best.n_trials == N_REPEATS
    for row in data.itertuples():
        apart = row.direction_deg - 45 * int(row.condition.removeprefix("to "))
        assert abs((apart + 180) % 360 - 180) < 1
    # flexors of the radial and the ulnar side pull to flexion (x), and to their side (y is radial)
    pull = data.groupby("channel").pull_deg.first()
    assert 0 < pull["FCR"] < 45 and -90 < pull["FCU"] < 0 and 90 < pull["ECRl"] < 180
    assert set(pick(data, channel="FDS").muscles) == {"FDS2 FDS3"}


def test_tuning_is_drawn_as_the_table_has_it(muscles, draw, drawn_figures):
    drawn, _ = draw(muscles)
    data = table(drawn, "emg_tuning")
    panels = {axes.get_title(): axes for axes in axes_of(drawn_figures, "emg_tuning")}
    assert list(panels) == list(WRIST)
    for channel, axes in panels.items():
        recorded, simulated = axes.lines[:2]
        for line, name in ((recorded, "recorded EMG"), (simulated, "the model’s muscle activation")):
            mine = pick(data, channel=channel, source=name)
            angle, radius = line.get_data()
            assert np.degrees(angle[:-1]) == pytest.approx(mine.direction_deg.to_numpy())
            assert radius[:-1] == pytest.approx(mine.relative_activity.to_numpy())
            assert angle[0] == angle[-1] and radius[0] == radius[-1]  # a closed curve
        (arrow,) = [text for text in axes.texts if text.arrow_patch is not None]
        assert np.degrees(arrow.xy[0]) == pytest.approx(pick(data, channel=channel).pull_deg.iloc[0])
    text = written(drawn_figures, "emg_tuning")
    assert "handle from where windows start, along x (wrist flexion) and y (radial deviation)" in text
    assert "Left out, since they are without signal: EDCr." in text and "in place of the model" not in text


def test_matrices_are_correlations_of_condition_averages(muscles, draw, drawn_figures):
    drawn, trials = draw(muscles)
    data = table(drawn, "emg_matrix")
    names = {"recorded EMG": None, "the model’s muscle activation": CANDIDATE}
    images = [axes for axes in axes_of(drawn_figures, "emg_matrix") if axes.images]
    for axes, (name, source) in zip(images, names.items(), strict=True):
        expected = correlations(muscles, trials, source)
        mine = data[data.source == name]
        assert mine.correlation.to_numpy() == pytest.approx(expected.ravel())
        assert list(dict.fromkeys(mine.channel)) == list(WRIST)
        assert np.asarray(axes.images[0].get_array()) == pytest.approx(expected)
        assert axes.images[0].get_clim() == (-1, 1)
        assert [t.get_text() for t in axes.get_xticklabels()] == list(WRIST)
        assert {t.get_position(): float(t.get_text().replace("−", "-")) for t in axes.texts} == pytest.approx(
            {(j, i): value for (i, j), value in np.ndenumerate(expected)}, abs=0.051
        )
    value = rsa(muscles, trials, CANDIDATE)
    assert set(data.muscle_rsa.round(4)) == {round(value, 4)} and set(data.n_trials) == {len(trials)}
    assert f"muscle RSA {value:.2f}, ceiling 0.91" in written(drawn_figures, "emg_matrix").replace("−", "-")


def test_activation_that_is_not_that_of_the_record_is_not_shown(muscles, draw):
    with pytest.raises(NgbError, match=r"of planted is not that which was scored .* score again, then draw"):
        draw(muscles, scored=0.123)


def test_where_rsa_is_undefined_the_record_gives_the_reason(muscles, draw):
    reason = "no condition has 2 trials in this split"
    undefined = [{"metric": "muscle_rsa", "split": "test", "value": None, "reason": reason}]
    drawn, _ = draw(muscles, rows=[*added_rows(0), *undefined], scored=np.nan)
    assert drawn.left_out["emg_matrix"] == reason and "emg_tuning" in drawn.files


def test_static_optimisation_takes_the_place_of_a_model_without_muscles(muscles, draw, drawn_figures):
    activation = {STATIC: muscles.activation[STATIC]}
    drawn, _ = draw(replace(muscles, activation=activation, absent={CANDIDATE: NO_MUSCLE}))
    for name in ("emg_tuning", "emg_matrix"):
        assert set(table(drawn, name).source) == {"recorded EMG", "static optimisation"}
        text = written(drawn_figures, name)
        assert f"Static optimisation in place of the model: {NO_MUSCLE}." in text
        assert "the model’s muscle activation" not in text
    best = pick(table(drawn, "emg_tuning"), channel="FCR", source="static optimisation")
    assert best.loc[best.relative_activity.idxmax()].direction_deg == pytest.approx(2 * BY, abs=1)


def test_more_channels_than_fit_are_named_and_signs_replace_numbers(draw, drawn_figures):
    wrist = find_body("isometric_wrist")
    channels = {f"channel_{k:02d}": (wrist.muscles[k],) for k in range(14)}
    drawn, _ = draw(planted_muscles(channels, preferred={c: 25.7 * k for k, c in enumerate(channels)}))
    assert table(drawn, "emg_tuning").channel.nunique() == 12
    text = written(drawn_figures, "emg_tuning")
    assert "Left out, since 12 channels fit: channel_12, channel_13." in text
    data = table(drawn, "emg_matrix")
    assert len(data) == 2 * 14**2
    cells = [t.get_text() for axes in axes_of(drawn_figures, "emg_matrix") if axes.images for t in axes.texts]
    assert cells.count("−") == (data.correlation < 0).sum() and set(cells) == {"−", ""}
    assert_legible(drawn_figures.pages)


def test_without_a_plane_there_is_no_tuning(draw):
    drawn, _ = draw(planted_muscles(body="myohand"))
    assert drawn.left_out["emg_tuning"] == (
        "tuning is drawn by direction in a plane, and the endpoint of myohand has 3 coordinates"
    )
    assert "emg_matrix" in drawn.files


def test_axes_that_no_joint_follows_have_no_other_name(draw, drawn_figures):
    draw(planted_muscles({"a": ("ECRL",)}, body="planar_arm", preferred={"a": 0.0}), scored=np.nan)
    assert "from where windows start, along x and y of planar_arm." in written(drawn_figures, "emg_tuning")


def test_what_groups_add_is_that_of_the_record(muscles, draw, drawn_figures):
    drawn, _ = draw(muscles)
    data, rows = table(drawn, "emg_neurons"), list(added_rows(0))
    assert len(data) == len(rows)
    for row in rows:
        mine = the(data, **{key: row[key] for key in ("area", "split", "group")})
        assert_row(mine, row, "added_ev")
        assert mine["name"] == GROUPS[row["group"]]
    panels = {axes.get_title("left"): axes for axes in axes_of(drawn_figures, "emg_neurons")}
    assert list(panels) == ["M1, test: new trials", "M1, ood: new conditions", "S1, test: new trials",
                            "S1, ood: new conditions"]  # fmt: skip
    for title, axes in panels.items():
        mine = pick(data, area=title[:2], split=title.split(":")[0][4:])
        assert [bar.get_width() for bar in axes.patches] == pytest.approx(mine.added_ev.tolist())
        names = [" ".join(t.get_text().split()) for t in axes.get_yticklabels()]
        assert names == (mine.name.tolist() if "test" in title else [])  # shared by the panels of a line
    assert_legible(drawn_figures.pages)


def test_single_networks_are_dots_and_absent_groups_have_a_reason(muscles, draw, drawn_figures):
    absent = [
        {**row, "value": None, "ci": None, "reason": NO_MUSCLE} if row["group"] == "activation" else row
        for row in added_rows(0)
    ]
    drawn, _ = draw(muscles, seeds=(0, 1, 2), rows=absent)
    data = table(drawn, "emg_neurons")
    one = pick(data, area="M1", split="test", group="emg")
    value = absent[0]["value"]
    assert one.kind.tolist() == ["mean", *["network"] * 3] and one.added_ev.tolist() == pytest.approx(
        [value] * 4
    )
    assert one.seed.tolist()[1:] == [0, 1, 2]
    axes = axes_of(drawn_figures, "emg_neurons")[0]
    dots = [line for line in axes.lines if line.get_label() == "one network or fold"]
    assert len(dots) == 3 * 4 and len(axes.patches) == 4
    text = written(drawn_figures, "emg_neurons")
    left_out = "the model’s muscle activation of M1 on test and ood; the model’s muscle activation of S1"
    assert left_out in text and NO_MUSCLE in text


def test_without_emg_no_protocol_is_asked_for(muscles, draw):
    silent = SimpleNamespace(session=SimpleNamespace(body="isometric_wrist", signals={}, endpoint=None))
    session = replace(muscles.session, recording=silent)
    drawn, _ = draw(replace(muscles, session=session))
    assert {drawn.left_out[name] for name in DRAWN} == {"no EMG was recorded"}
