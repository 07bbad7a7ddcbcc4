"""Submissions: made from a run, checked without trust, scored again; every change is refused by name."""

import hashlib
import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recorded import write_planted

from neurobench_grasp import NgbError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.records import read_record, read_scored, to_json, write_record
from neurobench_grasp.records.record import units_path
from neurobench_grasp.records.submission import (
    BUNDLE,
    check_record,
    check_submission,
    describe,
    folder_name,
    list_files,
)
from neurobench_grasp.run.evaluate import evaluate
from neurobench_grasp.run.submit import make_submission
from neurobench_grasp.run.verify import verify

LEARNER = Path(__file__).parents[1] / "plugins" / "distributions" / "learner"
FIELDS = ("schema", "model", "seed", "dataset", "protocol", "scores", "dropped", "provenance", "card")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """One planted recording, scored by a model that learns and by one that does not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(LEARNER))
        patch.setenv("NGB_CACHE", str(tmp_path_factory.mktemp("cache")))
        load_registry.cache_clear()
        folder = tmp_path_factory.mktemp("registry")
        file = write_planted(folder / "planted.nwb")
        evaluate("fake_learner", file, seeds=(0,), out=folder / "run")
        (path,) = (folder / "run" / "records").glob("*.json")
        secret = replace(read_record(path), model="fake_secret", card=None)
        write_record(path.parent, secret, units_path(path).read_bytes())
        yield file, folder / "run"
    load_registry.cache_clear()


@pytest.fixture(scope="module")
def submitted(planted, tmp_path_factory):
    return make_submission(planted[1], "fake_learner", tmp_path_factory.mktemp("submitted")).folder


@pytest.fixture
def bundle(submitted, tmp_path):
    """A copy to be spoilt."""
    return Path(shutil.copytree(submitted, tmp_path / submitted.name))


def record_of(bundle):
    (path,) = (bundle / "records").glob("*.json")
    return path


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def forge(bundle):
    """Describe the folder again, as a forger would after a change."""
    content, _ = describe(list_files(bundle)[0])
    (bundle / BUNDLE).write_text(json.dumps(content))
    return bundle.rename(bundle.with_name(folder_name(content)))


def other(value):
    """Something else of the same kind, so that it is the digest that tells."""
    if isinstance(value, dict):
        return value | {"added": 1}
    if isinstance(value, list):
        return value[:-1] or [{"metric": "m", "value": 1.0, "reason": "r"}]
    return value + (1 if isinstance(value, int) else "x")


# --- made ------------------------------------------------------------------------------------------


def test_the_same_run_gives_the_same_bytes(planted, submitted, tmp_path):
    again = make_submission(planted[1], "fake_learner", tmp_path).folder
    assert again.name == submitted.name
    files = {name: path.read_bytes() for name, path in list_files(submitted)[0].items()}
    assert {name: path.read_bytes() for name, path in list_files(again)[0].items()} == files
    assert sorted(name.split("/")[0] for name in files) == [
        "bundle.json", "card.json", "checkpoints", "records", "records", "splits"]  # fmt: skip
    make_submission(planted[1], "fake_learner", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [submitted.name]


def test_an_honest_submission_is_well_and_reads_as_a_run_folder(submitted):
    checked = check_submission(submitted)
    assert checked.problems == ()
    assert [filed.record.model for filed in checked.records] == ["fake_learner"]
    assert json.loads((submitted / "card.json").read_text()) == checked.records[0].record.card
    found, problems = read_scored([submitted], lambda labels: True)
    assert problems == () and [s.record.model for s in found] == ["fake_learner"]


def test_what_cannot_be_submitted_is_told_and_leaves_nothing(planted, tmp_path):
    run = Path(shutil.copytree(planted[1], tmp_path / "run"))
    out = tmp_path / "out"

    def refused(message, model="fake_learner"):
        with pytest.raises(NgbError, match=message):
            make_submission(run, model, out)
        assert not out.exists() or list(out.iterdir()) == []

    refused("has records of fake_learner, fake_secret; choose one with --model", None)
    refused("has no records of linear", "linear")
    refused("card: it is missing; give the plugin's ModelSpec a card", "fake_secret")
    (path,) = (run / "records").glob("fake_learner*.json")
    moved = units_path(path).rename(tmp_path / "units")
    refused(r"provenance\.units_sha256: .*units\.npz cannot be read")
    moved.rename(units_path(path))
    whole = path.read_text()
    twin = path.with_name("twin.json")
    edit(path, lambda r: r["provenance"]["code"].update({"neurobench-grasp": "0" * 64}))
    twin.write_text(whole)
    refused("provenance.code is not the same in all records|the file's name does not fit")
    twin.unlink()
    path.write_text(whole[:-10])
    refused("is not valid JSON")
    shutil.rmtree(run / "records")
    refused("There are no records in .*records; make some with `ngb score`")


def test_code_that_differs_between_records_is_refused(planted, tmp_path):
    run = Path(shutil.copytree(planted[1], tmp_path / "run"))
    (path,) = (run / "records").glob("fake_learner*.json")
    record = read_record(path)
    code = dict(record.provenance["code"]) | {"neurobench-grasp": "0" * 64}
    another = replace(record, seed=1, provenance={**record.provenance, "code": code})
    write_record(path.parent, another, units_path(path).read_bytes())
    with pytest.raises(NgbError, match=r"provenance\.code is not the same in all records"):
        make_submission(run, "fake_learner", tmp_path / "out")


# --- tampered --------------------------------------------------------------------------------------


@pytest.mark.parametrize("forged", [False, True])
@pytest.mark.parametrize("field", FIELDS)
def test_a_changed_field_of_a_record_is_named(bundle, field, forged):
    path = record_of(bundle)
    edit(path, lambda r: r.update({field: other(r[field])}))
    if forged and field not in ("scores", "dropped", "provenance"):  # other rows are caught by arithmetic
        bundle = forge(bundle)
        problems = verify(bundle).problems
        assert any(f"records/{path.name}: " in p for p in problems) or field == "seed"
    else:
        problems = verify(bundle).problems
        assert any(p.startswith(f"records/{path.name}: {field} ") for p in problems), problems
    assert problems


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_or_added_field_of_a_record_is_named(bundle, field):
    path = record_of(bundle)
    edit(path, lambda r: r.pop(field))
    assert any(
        p.startswith(f"records/{path.name}: {field} is in bundle.json but missing")
        for p in verify(bundle).problems
    )
    edit(path, lambda r: r.update({"trust": "me"}))
    assert any(
        p.startswith(f"records/{path.name}: trust is not in bundle.json") for p in verify(bundle).problems
    )


def rows_with_units(record):
    """Rows that scores of single units stand behind: the model's and references', on held-out trials."""
    return [
        i
        for i, row in enumerate(record["scores"])
        if row["metric"] in ("single_trial_ev", "condition_averaged_ev", "object_tuning_ev")
        and row.get("split") in ("test", "ood")
        and row["value"] is not None
        and "layer" not in row
        and row.get("reference", "phase_mean") == "phase_mean"
    ]


@pytest.mark.parametrize("key", ["value", "median", "n_units", "ci"])
def test_a_changed_number_of_a_row_is_named_even_if_all_digests_are_made_anew(submitted, tmp_path, key):
    content = json.loads(record_of(submitted).read_text())
    rows = [i for i in rows_with_units(content) if content["scores"][i].get(key) is not None]
    assert len(rows) >= (2 if key == "ci" else 4)  # one network of a model has no intervals of gains
    for n, i in enumerate((rows[0], rows[-1])):
        bundle = Path(shutil.copytree(submitted, tmp_path / str(n) / submitted.name))

        def better(record, i=i):
            old = record["scores"][i][key]
            record["scores"][i][key] = (
                [old[0] + 0.01, old[1]] if key == "ci" else old + (1 if key == "n_units" else 0.01)
            )

        edit(record_of(bundle), better)
        row = content["scores"][i]
        start = f"records/{record_of(bundle).name}: scores[{i}] ({row['metric']}, {row['split']}, M1"
        assert any(p.startswith(start) and "bundle.json says" in p for p in verify(bundle).problems)
        bundle = forge(bundle)
        found = [p for p in verify(bundle).problems if p.startswith(start)]
        assert any(
            (f"{key} is" in p and "the scores of single units give" in p) or key == "n_units" for p in found
        ), found


def test_a_changed_score_of_a_unit_is_named(bundle):
    path = units_path(record_of(bundle))
    with np.load(path) as arrays:
        content = dict(arrays)
    name = content["labels"][0, 10]  # its errors
    content[name] = content[name] * 1.01
    raw = io.BytesIO()
    np.savez_compressed(raw, **content)
    path.write_bytes(raw.getvalue())
    problems = verify(bundle).problems
    assert any(p.startswith(f"records/{path.name}: the file is not as bundle.json says") for p in problems)
    assert any("provenance.units_sha256" in p for p in problems)

    edit(
        record_of(bundle),
        lambda r: r["provenance"].update(units_sha256=hashlib.sha256(raw.getvalue()).hexdigest()),
    )
    problems = verify(forge(bundle)).problems
    assert problems and all("scores of single units give" in p for p in problems)


def test_a_row_without_units_behind_it_is_refused(bundle):
    path = record_of(bundle)
    units_path(path).unlink()
    edit(path, lambda r: r["provenance"].update(units_sha256=None))
    problems = verify(forge(bundle)).problems
    assert any(
        "scores[0] (single_trial_ev" in p and "no scores of single units stand behind it" in p
        for p in problems
    )


@pytest.mark.parametrize("field", ["licence", "authors", "training_data", "parameters", "steps", "seeds"])
def test_a_changed_card_is_named(bundle, field):
    def change(card):
        card[field] = {"licence": "MIT", "authors": ["B."], "training_data": ["x"], "seeds": [7]}.get(
            field, 99
        )

    edit(bundle / "card.json", change)
    assert any(
        p.startswith(f"card.json: {field} is not as bundle.json says") for p in verify(bundle).problems
    )
    problems = verify(forge(bundle)).problems
    assert any("card is not that of card.json" in p for p in problems)


@pytest.mark.parametrize("key", ["schema", "models", "card", "records", "files", "digest"])
def test_a_changed_bundle_is_named(bundle, key):
    edit(bundle / BUNDLE, lambda b: b.update({key: other(b[key])}))
    problems = verify(bundle).problems
    assert any(p.startswith("bundle.json: digest is not that of its content") for p in problems)
    if key in ("schema", "models"):
        assert any(p.startswith(f"bundle.json: {key} is not as") for p in problems)
    elif key != "digest":
        assert any("added" in p for p in problems)
    edit(bundle / BUNDLE, lambda b: b.pop(key))
    assert verify(bundle).problems


@pytest.mark.parametrize("part", ["digest", "fields", "scores"])
def test_a_changed_entry_of_the_bundle_is_named(bundle, part):
    name = f"records/{record_of(bundle).name}"
    edit(bundle / BUNDLE, lambda b: b["records"][name].update({part: other(b["records"][name][part])}))
    assert any(name in p for p in verify(bundle).problems)


def test_a_renamed_folder_and_changed_splits_are_named(bundle):
    renamed = bundle.rename(bundle.with_name("my-model"))
    assert any(f"is called {bundle.name}" in p for p in verify(renamed).problems)
    (splits,) = (renamed / "splits").iterdir()
    edit(splits, lambda s: s.update(held_out=["another"]))
    problems = verify(forge(renamed)).problems
    assert any("dataset.splits" in p for p in problems)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "dataset.held_out_conditions: they are not those of splits/"),
        ("7", "dataset.held_out_conditions: they are not those of splits/"),
        (
            "{",
            "is not valid JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)); score",
        ),
        ("[" * 9999, "is not valid JSON (it is nested more than 20 levels deep); score again."),
    ],
)
def test_splits_that_are_no_splits_are_named(bundle, text, problem):
    digest = hashlib.sha256(text.encode()).hexdigest()
    (splits,) = (bundle / "splits").iterdir()
    splits.unlink()
    (bundle / "splits" / f"{digest[:16]}.json").write_text(text)
    edit(record_of(bundle), lambda r: r["dataset"].update(splits=digest))
    assert any(problem in p for p in verify(forge(bundle)).problems)


# --- untrusted folders -----------------------------------------------------------------------------


def test_links_strange_files_and_folders_are_refused_unread(bundle, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("a private key")
    (bundle / "records" / "link.json").symlink_to(secret)
    (bundle / "more").symlink_to(tmp_path)
    (bundle / "run.py").write_text("print('x')")
    (bundle / "records" / "deep").mkdir()
    os.mkfifo(bundle / "records" / "pipe.json")
    report = verify(bundle)
    for name in ("records/link.json", "more", "run.py", "records/deep", "records/pipe.json"):
        assert any(p.startswith(f"{name}: ") for p in report.problems), name
    assert not any("private" in p for p in report.problems)


def test_a_linked_record_card_or_units_file_is_not_followed(bundle, tmp_path):
    for path in (record_of(bundle), units_path(record_of(bundle)), bundle / "card.json", bundle / BUNDLE):
        moved = Path(shutil.move(path, tmp_path / path.name))
        path.symlink_to(moved)
        assert any("link" in p for p in verify(bundle).problems), path
        path.unlink()
        shutil.move(moved, path)
    assert verify(bundle).problems == ()


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(planted, tmp_path):
    run = Path(shutil.copytree(planted[1], tmp_path / "run"))
    (path,) = (run / "records").glob("fake_learner*.json")
    (splits,) = (run / "splits").iterdir()
    for file in (units_path(path), splits):
        raw = file.read_bytes()
        file.unlink()
        os.mkfifo(file)
        assert any("is a link, folder or device, so it was not read" in p for p in verify(path).problems)
        file.unlink()
        file.write_bytes(raw)
    assert verify(path).problems == ()


def test_what_is_too_large_or_would_unpack_to_too_much_is_not_read(bundle, monkeypatch):
    card = bundle / "card.json"
    whole = card.read_bytes()
    os.truncate(card, 10**9)
    assert verify(bundle).problems == ("card.json: it has 1000000000 bytes, and at most 131072 are read.",)
    card.write_bytes(whole)
    path = units_path(record_of(bundle))
    monkeypatch.setattr("neurobench_grasp.records.archive.MOST_UNPACKED", 10**7)
    np.savez_compressed(path, zeros=np.zeros(2 * 10**6))
    assert path.stat().st_size < 10**6
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit(record_of(bundle), lambda r: r["provenance"].update(units_sha256=digest))
    assert any("(it unpacks to more than 9 MB); score again." in p for p in verify(bundle).problems)


class Trap:
    def __reduce__(self):
        return (os.mkdir, ("trapped",))


def test_pickles_are_not_opened(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = units_path(record_of(bundle))
    np.savez(path, labels=np.array([Trap()], object))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit(record_of(bundle), lambda r: r["provenance"].update(units_sha256=digest))
    assert any("does not hold scores of single units" in p for p in verify(forge(bundle)).problems)
    assert not Path("trapped").exists()


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"schema": 1, "schema": 2}', "[" * 100_000, '{"schema": NaN}', "\ud800", "null", "{}"],
)
def test_files_that_are_not_what_they_should_be_are_named(bundle, text):
    for path in (record_of(bundle), bundle / "card.json", bundle / BUNDLE):
        whole = path.read_bytes()
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        assert any(path.name in p for p in verify(bundle).problems), path
        path.write_bytes(whole)


# --- scored again ----------------------------------------------------------------------------------


def test_scoring_again_restores_the_checkpoint_and_finds_the_same_scores(planted, bundle):
    report = verify(bundle, rescore=True, write=True, dataset=planted[0])
    assert report.problems == ()
    (one,) = report.verified
    assert one.level == "re-scored" and one.how.startswith("the checkpoint was restored; scored again")
    assert one.largest_difference < 1e-9
    stored = read_record(record_of(bundle)).verification
    assert stored["level"] == "re-scored" and stored["how"] == one.how

    later = verify(bundle)  # what was verified is no part of the digest, and is no proof either
    assert later.problems == ()
    assert any("verification claims re-scored; not checked here" in note for note in later.notes)
    assert later.verified[0].level == "self-reported"


def test_a_checkpoint_that_gives_other_scores_is_refused(planted, bundle):
    from neurobench_grasp.controllers.files import read_arrays, write_arrays

    (path,) = (bundle / "checkpoints").iterdir()
    arrays, _ = read_arrays(path)
    write_arrays(path, arrays | {"weights": np.zeros((2, 4))}, {})
    assert any(p.startswith(f"checkpoints/{path.name}: the file is not as") for p in verify(bundle).problems)
    bundle = forge(bundle)
    assert verify(bundle).problems == ()  # nothing in it contradicts itself
    report = verify(bundle, rescore=True, write=True, dataset=planted[0])
    assert any("scores[0] (single_trial_ev" in p and "scoring again gives" in p for p in report.problems)
    assert report.verified[0].level == "self-reported"
    assert read_record(record_of(bundle)).verification is None


def test_fitting_anew_needs_no_checkpoint_and_scoring_does(planted, tmp_path):
    run = Path(shutil.copytree(planted[1], tmp_path / "run"))
    (path,) = (run / "records").glob("fake_learner*.json")
    assert verify(path, rescore=True, dataset=planted[0]).problems == ()
    shutil.rmtree(run / "stages")
    with pytest.raises(NgbError, match="there is no checkpoint of seed 0 to score; use --retrain"):
        verify(path, rescore=True, dataset=planted[0])
    report = verify(path, retrain=True, dataset=planted[0])
    assert report.problems == ()
    assert report.verified[0].level == "re-trained"
    assert report.verified[0].how.startswith("fitted again from seed 0")


def test_other_data_and_unknown_data_are_refused(planted, bundle, tmp_path):
    file = write_planted(tmp_path / "planted.nwb", seed=1)
    report = verify(bundle, rescore=True, write=True, dataset=file)
    assert any("dataset.sha256 is" in p for p in report.problems)
    assert read_record(record_of(bundle)).verification is None
    with pytest.raises(
        NgbError, match="The dataset planted of the record is not registered; say with --dataset"
    ):
        verify(bundle, rescore=True)
    with pytest.raises(NgbError, match="There is nothing to write without --rescore"):
        verify(bundle, write=True)


def test_a_record_of_a_run_is_checked_as_it_lies_there(planted):
    (path,) = (planted[1] / "records").glob("fake_learner*.json")
    assert verify(path).problems == ()
    (without_card,) = (planted[1] / "records").glob("fake_secret*.json")
    assert any("card: it is missing" in p for p in verify(without_card).problems)
    assert [v.record.model for v in verify(planted[1]).verified] == ["fake_learner", "fake_secret"]
    with pytest.raises(NgbError, match="There is no file or folder"):
        verify(planted[1] / "nothing")
    checked = check_record(path, planted[1])
    assert to_json(checked.records[0].record) == json.loads(path.read_text())
