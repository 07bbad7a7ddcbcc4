"""What the published wheel holds: enough to score offline at once, and nothing that not everyone may use."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = "neurobench_grasp/_resources/"


def test_the_wheel_holds_layouts_catalogue_and_the_default_networks_alone(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    networks = sorted(n.removeprefix(DATA) for n in names if n.endswith(".safetensors"))
    assert networks == [f"registry/checkpoints/demo/{m}_ppo-0.safetensors" for m in ("muscle", "torque")]
    for expected in ("nwb_schemas/ngb-grasp-1.yaml", "registry/datasets/myodm.yaml",
                     "registry/checkpoints/demo/muscle_ppo-0.json"):  # fmt: skip
        assert DATA + expected in names
    assert "neurobench_grasp/controllers/training.py" in names
    submissions = {n.split("/")[4] for n in names if n.startswith(f"{DATA}registry/results/")}
    assert submissions == {p.name for p in (ROOT / "registry/results").iterdir() if p.is_dir()} != set()
    assert wheel.stat().st_size < 10e6
