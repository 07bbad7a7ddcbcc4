"""What the published wheel and source distribution hold: enough to score offline, and only what may be published."""

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = "neurobench_grasp/_resources/"
PUBLISHABLE = {"demo": "CC0-1.0", "m1_reach_c": "Apache-2.0, github.com/nerdslab/myow-neuro"}
"""Datasets whose networks and results may be published under the project's licence, and why."""
NO_PROGRAM = {".json", ".md", ".npz", ".safetensors", ".yaml"}


def built(project, to):
    """Build both distributions of a project; returns the content of their files, by name within it."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(to)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (wheel,), (sdist,) = to.glob("*.whl"), to.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(sdist) as archive:
        files = [member for member in archive if member.isfile()]
        in_sdist = {m.name.partition("/")[2]: archive.extractfile(m).read() for m in files}
    return wheel, in_wheel, in_sdist


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    return built(ROOT, tmp_path_factory.mktemp("dist"))


def test_the_wheel_holds_layouts_catalogue_and_the_default_networks_alone(distributions):
    wheel, names, _ = distributions
    inside = f"{DATA}registry/checkpoints/"
    networks = sorted(n.removeprefix(DATA) for n in names if n.startswith(inside) and "safetensors" in n)
    models = ("fixed_muscles", "muscle_lstm", "muscle_ppo", "muscle_sl", "muscle_stack", "permuted_muscles",
              "torque_ppo")  # fmt: skip
    default = [f"{model}-0" for model in models]
    drive = ("muscle_lstm", "muscle_ppo", "muscle_sl", "muscle_stack", "permuted_muscles", "torque_ppo")
    teachers = [f"{model}-100" for model in drive]  # of `mixed` and `mixed_memory`
    assert networks == [
        f"registry/checkpoints/demo/{name}.safetensors" for name in sorted(default + teachers)
    ]
    for expected in ("nwb_schemas/ngb-grasp-1.yaml", "registry/datasets/myodm.yaml",
                     "registry/checkpoints/demo/muscle_ppo-0.json"):  # fmt: skip
        assert DATA + expected in names
    assert "neurobench_grasp/controllers/training.py" in names
    submissions = {n.split("/")[4] for n in names if n.startswith(f"{DATA}registry/results/")}
    assert submissions == {p.name for p in (ROOT / "registry/results").iterdir() if p.is_dir()} != set()
    assert wheel.stat().st_size < 75e6


def test_wheel_and_source_distribution_hold_only_what_may_be_published(distributions):
    _, wheel, sdist = distributions
    for files in ({n.removeprefix(DATA): raw for n, raw in wheel.items()}, sdist):
        data = {n: raw for n, raw in files.items() if n.startswith("registry/")}
        cards = {
            n: json.loads(raw)
            for n, raw in data.items()
            if n.startswith("registry/checkpoints/") and n.endswith(".json")
        }
        assert len(cards) >= 7
        for name, card in cards.items():
            assert (card["licence"], card["dataset"]["id"]) == ("CC0-1.0", "demo"), name
        weights = {n for n in data if n.startswith("registry/checkpoints/") and n.endswith(".safetensors")}
        assert {str(PurePosixPath(n).with_suffix(".json")) for n in weights} == set(cards)
        records = [json.loads(raw) for n, raw in data.items() if "/records/" in n and n.endswith(".json")]
        assert records and {r["dataset"]["id"] for r in records} <= set(PUBLISHABLE)
        assert {PurePosixPath(n).suffix for n in data} <= NO_PROGRAM
        others = {PurePosixPath(n).suffix for n in files if n not in data}
        assert not others & {
            ".nwb",
            ".npz",
            ".npy",
            ".h5",
            ".mat",
            ".safetensors",
            ".zip",
            ".whl",
            ".pt",
            ".pkl",
        }


@pytest.mark.slow
def test_a_wheel_of_the_source_distribution_is_that_of_the_repository(distributions, tmp_path):
    _, wheel, sdist = distributions
    for name, raw in sdist.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(raw)
    (tmp_path / "again").mkdir()
    _, again, _ = built(tmp_path, tmp_path / "again")
    assert again == wheel


@pytest.mark.parametrize("plugin", sorted(p.name for p in (ROOT / "plugins").iterdir() if p.is_dir()))
def test_distributions_of_plugins_hold_code_alone(plugin, tmp_path):
    _, wheel, sdist = built(ROOT / "plugins" / plugin, tmp_path)
    for name in (*wheel, *sdist):
        if ".dist-info/" not in name:
            assert PurePosixPath(name).name in ("PKG-INFO", "pyproject.toml", ".gitignore") or name.endswith(
                ".py"
            ), name
