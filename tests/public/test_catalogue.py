"""The catalogue keeps to its schema and to the layouts, and its datasets are fetched and scored by name."""

import json
import re
from pathlib import Path

import public_files
import pytest
import yaml
from dandi_server import File, archive
from jsonschema_rs import Draft202012Validator, meta
from typer.testing import CliRunner

from neurobench_grasp.cli import app
from neurobench_grasp.data import layouts
from neurobench_grasp.data.catalogue import catalogue, fetch, fetched_files, find_entry
from neurobench_grasp.data.dandi import parse_address
from neurobench_grasp.errors import NgbError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.resources import resource
from neurobench_grasp.run import evaluate as run
from neurobench_grasp.run.dataset import load_dataset

ENTRIES = {p.stem: p for p in resource("registry/datasets").glob("*.yaml")}
DANDISETS = {"000941", "001209", "000953", "000954", "001201", "000128", "000138", "000139", "000140", "000129",
             "000127", "000688"}  # fmt: skip
DOCS = Path(__file__).resolve().parents[2] / "docs" / "public_datasets.md"


@pytest.fixture(scope="module")
def schema():
    content = json.loads((resource("registry/datasets") / "entry.schema.json").read_text())
    meta.validate(content)
    return Draft202012Validator(content)


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_keeps_to_the_schema_and_names_what_exists(schema, name):
    content = yaml.safe_load(ENTRIES[name].read_text())
    schema.validate(content)
    entry = catalogue()[name]
    assert entry.name == name and entry.layout in layouts()
    assert not entry.dandi or [parse_address(a).dandiset for a in entry.dandi.addresses] == [
        entry.dandi.dandiset
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"dandi": {"dandiset": "941", "version": "draft", "paths": ["*"]}},
        {"dandi": {"dandiset": 941, "version": "draft", "paths": ["*"]}},
        {"dandi": {"dandiset": "000941", "version": "", "paths": ["*"]}},
        {"dandi": {"dandiset": "000941", "version": "draft", "paths": []}},
        {"dandi": {"dandiset": "000941", "version": "draft", "paths": ["../../secret.nwb"]}},
        {"dandi": {"dandiset": "000941", "version": "draft", "paths": ["/etc/passwd"]}},
        {"dandi": {"dandiset": "000941", "version": "draft", "paths": ["*"], "digests": {"a": "abc"}}},
        {"sha256": "0" * 64},
        {"areas": ["motor cortex"]},
        {"scores": {}},
        {"scores": {"encoding": "yes", "tracking": "yes"}},
        {"unverfied": True},
    ],
)  # fmt: skip
def test_a_wrong_entry_does_not(schema, change):
    content = yaml.safe_load(ENTRIES["falcon-m1"].read_text()) | change
    assert not schema.is_valid(content)


def test_every_public_dandiset_is_there_and_says_that_it_was_not_checked():
    on_dandi = [entry for entry in catalogue().values() if entry.dandi]
    assert {entry.dandi.dandiset for entry in on_dandi} == DANDISETS
    for entry in on_dandi:
        assert entry.unverified and not entry.dandi.digests
        assert any("digests are not pinned" in quirk for quirk in entry.quirks)
    assert {entry.layout for entry in on_dandi} == set(public_files.LAYOUTS.values())


def test_what_an_entry_can_be_scored_on_is_true_of_its_files(public):
    for name, layout in public_files.LAYOUTS.items():
        data = load_dataset(load_registry(), public(name))
        for entry in (e for e in catalogue().values() if e.dandi and e.layout == layout):
            hand = all(s.trials.joint_angles is not None for s in data.sessions)
            assert (entry.scores["encoding"] == "yes") == bool(data.sessions[0].trials.signals)
            assert (
                entry.protocols["tracking"].startswith("yes")
                == entry.protocols["brain-control"].startswith("yes")
                == hand
            )
            assert entry.details["body"] == data.sessions[0].trials.body
            assert set(data.sessions[0].units.areas) <= set(entry.areas)


def test_the_table_in_the_documentation_has_every_entry():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\d{6} .*)$", DOCS.read_text(), re.MULTILINE)
    reported = dict(rows)
    for entry in (e for e in catalogue().values() if e.dandi):
        assert entry.dandi.dandiset in reported[entry.name] and entry.dandi.version in reported[entry.name]
        assert f"`{entry.layout}`" in reported[entry.name]
        body, protocols = (cell.strip() for cell in reported[entry.name].split("|")[-3:-1])
        assert body.split(",")[0].strip("`") == (entry.details["body"] or "none")
        assert ("partial" in body) == ("partial" in entry.protocols["tracking"])
        assert protocols.startswith("encoding")
        assert set(protocols.split(", ")[1:]) == {
            name for name in ("tracking", "brain-control") if entry.protocols[name].startswith("yes")
        }
    assert len(rows) == len(reported) == sum(1 for e in catalogue().values() if e.dandi)


@pytest.fixture
def dandi(public, monkeypatch):
    """An archive that holds two files of FALCON M2, calib and minival."""
    with archive() as made:
        content = public("falcon-m2").read_bytes()
        made.add("000953", "draft", *(
            File(f"sub-MonkeyN-held-in-{s}/sub-MonkeyN-held-in-{s}_ses-2020-10-19-Run1_behavior+ecephys.nwb", content)
            for s in ("calib", "minival")
        ))  # fmt: skip
        monkeypatch.setenv("NGB_DANDI_INSTANCE", made.api)
        yield made


def test_a_dataset_is_fetched_once_and_scored_by_its_name(dandi, tmp_path):
    with pytest.raises(
        NgbError, match="falcon-m2 has not been fetched yet; run `ngb data fetch falcon-m2` first"
    ):
        load_dataset(load_registry(), "falcon-m2")
    (file,) = fetch("falcon-m2")
    assert "held-in-calib" in file.name
    asked = dandi.count()
    assert fetched_files(find_entry("falcon-m2")) == [file] and dandi.count() == asked
    (record,) = run.evaluate("linear_kinematic", "falcon-m2", seeds=(0,), out=tmp_path / "run")
    assert record.dataset["id"] == "falcon-m2" and record.dataset["licence"] == "CC-BY-4.0"
    assert dandi.count() == asked  # a score needs no network


def test_a_folder_instead_of_the_archive_is_answered_with_the_way_to_score_files(tmp_path):
    with pytest.raises(NgbError, match="falcon-m2 is only on DANDI; score your own files by their path"):
        fetch("falcon-m2", tmp_path)


def test_listings_say_what_is_unverified(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(app, ["datasets"]).stdout
    assert re.search(r"falcon-m1 .*\(unverified\)", shown) and not re.search(r"myodm .*\(unverified\)", shown)
    assert "unverified: described from published listings, not checked against the archive" in shown
    reported = {d["name"]: d for d in json.loads(CliRunner().invoke(app, ["datasets", "--json"]).stdout)}
    assert reported["falcon-m1"]["details"]["unverified"] is True
    assert reported["falcon-m1"]["details"]["dandi"] == ["dandi:000941@draft/*held-in-calib*"]
    assert reported["falcon-m1"]["details"]["scores"]["tracking"] == "no joint angles of a body were recorded"
    assert (reported["falcon-m1"]["body"], reported["perich-miller-co"]["body"]) == (None, "planar_arm")


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("demo", "myohand yes yes yes"),
        ("myodm", "myohand no yes no"),
        ("falcon-m1", "– own no no"),
        ("falcon-m2", "myohand yes partial partial"),
        ("nlb-area2-bump", "macaque_arm yes yes yes"),
    ],
)
def test_listings_say_which_body_and_which_protocols(monkeypatch, name, cells):
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(app, ["datasets"]).stdout
    assert f"{name} {cells}" in [" ".join(line.split()) for line in shown.splitlines()]


def test_listings_say_where_a_body_is_not_installed(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(type(load_registry()), "bodies", lambda self: [])
    assert re.search(
        r"perich-miller-co +planar_arm \(not installed\) +yes", CliRunner().invoke(app, ["datasets"]).stdout
    )
