"""Units of known kinds: what is assigned to them, and who knows the key."""

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from typer.testing import CliRunner

from neurobench_grasp.alignment.align import align
from neurobench_grasp.cli import app
from neurobench_grasp.contract import Activations, ModelSpec, Ragged
from neurobench_grasp.data import load_session
from neurobench_grasp.demo.driven import standardised
from neurobench_grasp.demo.files import write_synthetic
from neurobench_grasp.demo.mixed import KEY, mixed_session
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import CORE, Provided, Registry
from neurobench_grasp.recovery import Assigned, Share, assign, has_key, key_rows, write_key_report

CANDIDATES = {"first_joints": "first", "second_joints": "second"}
SEEN = []


class SomeJoints:
    """Angles of some joints in the recorded posture; remembers everything that it was given."""

    def __init__(self, joints):
        self.joints = joints

    def fit(self, train, *, seed):
        SEEN.append(train)

    def activations(self, trials):
        SEEN.append(trials)
        return Activations({"joints": Ragged(trials.joint_angles.values[:, self.joints], trials.offsets)})

    def state(self):
        return {}

    def restore(self, state):
        pass


JOINTS = {"first_joints": [7, 9, 10], "second_joints": [0, 1, 2]}


@pytest.fixture
def models(monkeypatch, tmp_path):
    """Register two candidates, of which each network has a fold."""
    known = Registry.model

    def model(self, name):
        if name not in JOINTS:
            return known(self, name)
        spec = ModelSpec(
            name,
            build=lambda seed: SomeJoints(JOINTS[name]),
            summary="",
            depends_on=lambda seed, train: f"{name} {seed}",
        )
        return Provided(spec, CORE, "0")

    monkeypatch.setattr(Registry, "model", model)
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    SEEN.clear()


@pytest.fixture(scope="module")
def keyed(movements, tmp_path_factory):
    """A file with six units of each kind: of either candidate, of kinematics, and afferents; and its key."""
    base = load_session(movements)
    aligned = align(base)
    angles = aligned.trials.joint_angles.values
    features = {kind: {"joints": standardised(angles[:, JOINTS[name]])} for name, kind in CANDIDATES.items()}
    session, kinds = mixed_session("mixed", base, aligned, features, 6)
    path = tmp_path_factory.mktemp("keyed") / f"{session.id}.nwb"
    write_synthetic(path, session, "units of a test", unit_labels={KEY: kinds})
    return path, dict(zip(session.units.ids, kinds, strict=True))


def everything_in(value):
    """All text in nested dataclasses, mappings and sequences."""
    if isinstance(value, str):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from everything_in(getattr(value, field.name))
    elif isinstance(value, dict):
        yield from everything_in([*value, *value.values()])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from everything_in(item)


def test_units_are_assigned_to_what_drives_them_and_nothing_else_sees_the_key(
    models, keyed, tmp_path, monkeypatch
):
    """Neither a model nor scoring; and with a shuffled key the same assignments are no better than chance."""
    path, key = keyed
    scoring = []

    def guarded(score_all):
        def run(*args, **options):
            scoring.append(True)
            try:
                return score_all(*args, **options)
            finally:
                scoring.pop()

        return run

    from neurobench_grasp.recovery import key as module

    read = module.unit_labels
    monkeypatch.setattr(module, "score_all", guarded(module.score_all))
    monkeypatch.setattr("neurobench_grasp.data.nwb.units.unit_labels", None)  # no other code reads it
    monkeypatch.setattr(
        module, "unit_labels", lambda *a: pytest.fail("while scoring") if scoring else read(*a)
    )
    found = assign(path, networks=2, candidates=CANDIDATES, out=tmp_path / "run")
    assert dict(zip(found.units, found.truth, strict=True)) == key
    assert found.kinds == ("first", "second") and len(found.units) == 24
    assert found.right().n == 12 and found.right().n_right >= 11
    assert found.indistinct() == []
    assert found.confusion.sum() == 24 and found.confusion[:2].trace() == found.right().n_right
    assert SEEN
    assert not {KEY, *CANDIDATES.values(), "kinematics", "afferents"} & {
        t for s in SEEN for t in everything_in(s)
    }
    known = [k for k in found.truth if k in found.kinds]
    shares = []
    for seed in range(20):
        shuffled = iter(np.random.default_rng(seed).permutation(known))
        truth = tuple(next(shuffled) if k in found.kinds else k for k in found.truth)
        shares.append(replace(found, truth=truth).right().value)
    assert np.mean(shares) == pytest.approx(0.5, abs=0.1)


def test_a_session_with_a_key_is_read_as_one_without(keyed, tmp_path):
    path, _ = keyed
    session = load_session(path)
    write_synthetic(tmp_path / path.name, session, "units of a test")
    bare = load_session(tmp_path / path.name)
    assert bare.sha256 == session.sha256 and bare.notes == session.notes
    assert has_key(path) and not has_key(tmp_path / path.name)
    assert not {KEY, "first", "second", "afferents"} & set(everything_in(session))


def planted(n=200, apart=0.05, seed=0):
    """Units whose own candidate is ahead by ``apart``, with noise of 0.02; of kind "c" there is no candidate."""
    rng = np.random.default_rng(seed)
    truth = np.array(["a", "b", "c"] * n)
    kinds = ("a", "b")
    scores = 0.2 + 0.02 * rng.standard_normal((2, len(truth))) + apart * (truth == np.array(kinds)[:, None])
    return Assigned(tuple(f"u{i}" for i in range(len(truth))), tuple(truth), kinds, scores)


def test_the_confusion_matrix_counts_every_unit_once():
    found = planted()
    assert found.all_kinds == ("a", "b", "c")
    assert found.confusion.shape == (3, 2) and found.confusion.sum(1).tolist() == [200, 200, 200]
    assert found.confusion[:2].trace() / 400 == pytest.approx(found.right().value)
    assert found.right().value == pytest.approx(0.961, abs=0.02)  # 0.05 / (0.02 · √2) standard deviations
    assert found.right("c").n_right == 0 and found.indistinct() == []


def test_kinds_that_do_not_differ_are_indistinct_and_the_check_can_fail():
    """In 19 of 20 draws; where the right candidate is ahead by a planted margin, in none."""
    null = [planted(60, 0.0, seed).indistinct() for seed in range(100)]
    assert sum(found == [("a", "b")] for found in null) >= 94
    assert [planted(60, 0.05, seed).indistinct() for seed in range(20)] == [[]] * 20


def test_a_candidate_that_is_ahead_for_every_unit_distinguishes_nothing():
    found = planted()
    biased = replace(found, scores=found.scores + np.array([[0.5], [0.0]]))
    assert biased.right("a").value == 1 and biased.right("b").value == 0
    assert biased.indistinct() == [("a", "b")]


@pytest.mark.parametrize(("n_right", "n"), [(0, 10), (7, 10), (30, 30), (55, 120)])
def test_intervals_of_shares_are_those_of_wilson(n_right, n):
    expected = binomtest(n_right, n).proportion_ci(method="wilson")
    assert Share(n_right, n).ci == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_table_holds_every_count_and_score(tmp_path):
    found = planted(20)
    table = pd.read_csv(write_key_report(found, tmp_path))
    assert len(table[table.quantity == "ev"]) == 120
    counts = table[table.quantity == "n_units"].set_index(["kind", "assigned"]).value
    assert counts["c", "a"] == found.confusion[2, 0]
    assert set(table[table.quantity == "right"].kind) == {"all", "a", "b"}
    assert len(key_rows(found)) == len(table)


def test_the_command_prints_the_matrix_in_80_columns(monkeypatch, tmp_path):
    monkeypatch.setattr("neurobench_grasp.recovery.has_key", lambda dataset: True)
    monkeypatch.setattr("neurobench_grasp.recovery.assign", lambda *args, **options: planted(20, 0.0))
    options = ["recovery", "--dataset", "mixed", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, options, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.stderr
    printed = result.stdout.replace(str(tmp_path), "")
    assert max(map(len, printed.splitlines())) <= 80
    assert "synthetic self-test" in printed and "no candidate" in printed
    assert "not distinguished unit by unit: a and b" in printed


def test_a_network_that_drives_units_is_no_candidate(tmp_path):
    with pytest.raises(NgbError, match=r"Network 100 drives units of mixed, .* at most 100 networks"):
        assign("mixed", networks=101, out=tmp_path)


def test_a_dataset_without_a_key_is_refused(models, movements, keyed, tmp_path):
    path, _ = keyed
    write_synthetic(tmp_path / path.name, load_session(path), "units of a test")
    with pytest.raises(NgbError, match="have no column driven_by"):
        assign(tmp_path / path.name, networks=2, candidates=CANDIDATES, out=tmp_path / "run")
    assert not SEEN  # before anything is scored
