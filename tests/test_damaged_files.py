"""Damaged layouts, cards, records, submissions, stages and manifests: one sentence or no harm, and never a silent change."""

import copy
import hashlib
import json
import random
import shutil
import time

import numpy as np
import pytest
from counts import examples

from neurobench_grasp.cache import MANIFEST, CachedDataset, combined_digest
from neurobench_grasp.controllers.checkpoints import NetworkCard, load_weights
from neurobench_grasp.controllers.files import read_arrays
from neurobench_grasp.data.nwb.layout import load_layout
from neurobench_grasp.errors import NgbError
from neurobench_grasp.formats import parse_json, parse_yaml
from neurobench_grasp.leaderboard.site import Facts, build_site
from neurobench_grasp.records import read_scored, to_json
from neurobench_grasp.records.record import RECORDS, units_path
from neurobench_grasp.records.submission import BUNDLE, check_submission, describe, folder_name, list_files
from neurobench_grasp.resources import resource
from neurobench_grasp.run.job import Job
from neurobench_grasp.run.stages import StageFolder

MOST_SECONDS = 20
HOSTILE = (
    None, True, [], {}, "", "x", "\x1b]0;x\x07\u202e", "../../x", "x" * 10_000, -1, 0, 0.5, 2**62, 1e308, [[[]]],
    {"a": {"b": []}}, ["x", 1, None], {"*": "*"},
)  # fmt: skip
TEXTS = (
    "NaN",
    "1e999",
    "9" * 5000,
    "[" * 5000,
    '"\\ud800"',
    "{",
    "&a [*a]",
    "!!python/object:os.system x",
    "\0",
)


def damaged_bytes(random_, raw):
    """Flip, cut, insert, repeat, or append something."""
    at, n = random_.randrange(len(raw) + 1), random_.choice((1, 1, 4, 40, 400))
    junk = random_.randbytes(n)
    return random_.choice([
        raw[:at] + junk + raw[at + n :], raw[:at], raw[:at] + junk + raw[at:], raw[:at] + raw[at + n :],
        raw[:at] + raw[at : at + n] * 2 + raw[at + n :], raw + junk, raw + raw, b"", junk,
        raw[:at] + random_.choice(TEXTS).encode() + raw[at:],
    ])  # fmt: skip


def damaged_value(random_, value):
    """Replace, remove, rename or repeat something within a value."""
    value = copy.deepcopy(value)
    place = value
    while isinstance(place, dict | list) and place:
        key = random_.choice(list(place)) if isinstance(place, dict) else random_.randrange(len(place))
        inside = place[key]
        if not isinstance(inside, dict | list) or not inside or random_.random() < 0.3:
            how = random_.random()
            if how < 0.6:
                place[key] = random_.choice(HOSTILE)
            elif how < 0.8:
                del place[key]
            elif isinstance(place, dict):
                place[f"{key}x"] = place.pop(key)
            else:
                place.append(inside)
            return value
        place = inside
    return random_.choice(HOSTILE)


def damage(random_, path, parse=None):
    """Damage a file: its bytes or, if it can be parsed, what it says."""
    raw = path.read_bytes()
    try:
        said = parse(raw) if parse is not None and random_.random() < 0.6 else None
    except ValueError:  # it is damaged already, or no text
        said = None
    if said is None:
        path.write_bytes(damaged_bytes(random_, raw))
    else:
        path.write_text(json.dumps(damaged_value(random_, said)))  # YAML reads it, too


@pytest.fixture(scope="module")
def small_submission(tmp_path_factory):
    """A real submission, and what it says."""
    folder = tmp_path_factory.mktemp("sound") / "untrained-7e5efc0a1a96"
    shutil.copytree(next((resource("registry/results")).glob("untrained-7e5*")), folder)
    return folder, said(folder)


def said(folder):
    scored, _ = read_scored([folder], lambda labels: True)
    without = [{k: v for k, v in to_json(s.record).items() if k != "verification"} for s in scored]
    return json.dumps(without, sort_keys=True), parse_json((folder / "card.json").read_bytes())


def try_layout(random_, tmp_path, _):
    path = tmp_path / "own.yaml"
    shutil.copy(random_.choice(sorted(resource("nwb_schemas").glob("*.yaml"))), path)
    damage(random_, path, parse_yaml)
    load_layout(path).subject_in("Monkey-" * 20)


def try_submission(random_, tmp_path, sound):
    folder = tmp_path / sound[0].name
    shutil.copytree(sound[0], folder)
    path = random_.choice(sorted(p for p in folder.rglob("*") if p.is_file()))
    damage(random_, path, parse_json if path.suffix == ".json" else None)
    read_scored([folder], lambda labels: True)
    if not check_submission(folder).problems:
        assert said(folder) == sound[1]


def try_forged_submission(random_, tmp_path, sound):
    """All digests are computed again after the damage, so that it is what the files say that is checked."""
    folder = tmp_path / "forged"
    shutil.copytree(sound[0], folder)
    path = random_.choice(sorted(p for p in folder.rglob("*") if p.is_file() and p.name != BUNDLE))
    damage(random_, path, parse_json if path.suffix == ".json" else None)
    for record in (folder / RECORDS).glob("*.json"):
        beside = units_path(record)
        try:
            said = parse_json(record.read_bytes())
            said["provenance"]["units_sha256"] = hashlib.sha256(beside.read_bytes()).hexdigest()
        except (ValueError, TypeError, KeyError, OSError):
            continue
        record.write_text(json.dumps(said))
    bundle, _ = describe(list_files(folder)[0])
    (folder / BUNDLE).write_text(json.dumps(bundle))
    folder = folder.rename(folder.with_name(folder_name(bundle)))
    check_submission(folder)
    build_site([folder], tmp_path / "site", Facts())


def try_network(random_, tmp_path, _):
    for name in ("torque_ppo-0.json", "torque_ppo-0.safetensors"):
        shutil.copy(resource("registry/checkpoints/demo") / name, tmp_path / name)
    weights, _ = read_arrays(tmp_path / "torque_ppo-0.safetensors")
    damage(random_, tmp_path / random_.choice(["torque_ppo-0.json", "torque_ppo-0.safetensors"]))
    if random_.random() < 0.5:
        damage(random_, tmp_path / "torque_ppo-0.json", parse_json)
    read = load_weights(
        tmp_path / "torque_ppo-0.json", NetworkCard.read(tmp_path / "torque_ppo-0.json"), weights
    )
    assert all((read[name] == weights[name]).all() for name in weights)


def try_stage(random_, tmp_path, _):
    def make():
        return {"x": np.arange(100.0), "y": np.array(["a", "b"])}

    stages = StageFolder(tmp_path / "stages")
    stages.keep("fit", {"a": [1, {"b": 2}]}, make)
    path = random_.choice(sorted(p for p in tmp_path.rglob("*") if p.is_file()))
    damage(random_, path, parse_json if path.suffix == ".json" else None)
    for _ in range(2):
        found = stages.keep("fit", {"a": [1, {"b": 2}]}, make)
        assert found["x"].tolist() == list(range(100)) and found["y"].tolist() == ["a", "b"]


def try_manifest(random_, tmp_path, _):
    place = tmp_path / "data"
    digests = {"s": hashlib.sha256(b"content").hexdigest()}
    cached = CachedDataset("data", combined_digest(digests), place)

    def fill(new):
        (new / "s.nwb").write_bytes(b"content")
        return digests

    made = cached.make(fill)
    damage(random_, random_.choice([place / MANIFEST, place / MANIFEST, place / "s.nwb"]), parse_json)
    complete = cached.files()
    assert complete in (None, made)
    if complete and cached.is_valid():
        assert made[0].read_bytes() == b"content"


def try_job(random_, tmp_path, _):
    line = Job("untrained", "demo", "encoding").to_line()
    value = json.dumps(damaged_value(random_, parse_json(line)))
    raw = damaged_bytes(random_, line.encode()) if random_.random() < 0.5 else value.encode()
    Job.from_line(raw.decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    "attempt",
    [try_layout, try_submission, try_forged_submission, try_network, try_stage, try_manifest, try_job],
    ids=lambda f: f.__name__,
)
def test_a_damaged_file_is_one_sentence_or_does_no_harm(attempt, tmp_path, small_submission):
    for seed in range(examples(300)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        started = time.monotonic()
        try:
            attempt(random.Random(seed), folder, small_submission)
        except NgbError as why:
            assert str(why) and "Traceback" not in str(why)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
        assert time.monotonic() - started < MOST_SECONDS
        shutil.rmtree(folder)
