"""Folders of plugins that build without any package from the internet: the builder lies in the folder."""

from pathlib import Path

BUILDER = """
import zipfile, pathlib, tomllib

def build_wheel(folder, settings=None, metadata=None):
    project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
    stem = project["name"].replace("-", "_") + "-" + project["version"]
    needs = "".join(f"Requires-Dist: {d}\\n" for d in project["dependencies"])
    (entry,) = project["entry-points"]["neurobench_grasp"].items()
    files = {p.name: p.read_text() for p in pathlib.Path().glob("*.py") if p.name != "builder.py"}
    info = f"{stem}.dist-info"
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\\nName: {project['name']}\\nVersion: {project['version']}\\n{needs}"
    )
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files[f"{info}/entry_points.txt"] = "[neurobench_grasp]\\n" + " = ".join(entry) + "\\n"
    files[f"{info}/RECORD"] = "".join(f"{name},,\\n" for name in [*files, f"{info}/RECORD"])
    name = f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "builder"
backend-path = ["."]

[project]
name = "{name}"
version = "{version}"
dependencies = {dependencies}

[project.entry-points.neurobench_grasp]
{module} = "{module}"
"""


def write_plugin(folder: Path, name: str, code: str, *, dependencies=(), version="1.0") -> Path:
    """Write the folder of a plugin of one module; gives its path."""
    module = name.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "builder.py").write_text(BUILDER)
    (folder / f"{module}.py").write_text(code)
    needs = ["neurobench-grasp", *dependencies]
    project = PROJECT.format(name=name, version=version, module=module, dependencies=needs)
    (folder / "pyproject.toml").write_text(project)
    return folder


PINNED = """
import numpy as np

from neurobench_grasp import Activations, ModelSpec, hookimpl


class Pinned:
    def fit(self, train, *, seed):
        assert np.__version__ == "{numpy}", np.__version__

    def activations(self, trials):
        assert np.__version__ == "{numpy}", np.__version__
        return Activations(dict(trials.signals))

    def state(self):
        return {{"numpy": np.array(np.__version__)}}

    def restore(self, state):
        assert state["numpy"] == np.__version__


@hookimpl
def ngb_models():
    yield ModelSpec("{model}", build=lambda seed: Pinned(), summary="needs numpy {numpy}")
"""

ODD = '''
import ctypes, os, pickle, socket, subprocess, sys, time
from pathlib import Path

import numpy as np

from neurobench_grasp import Activations, DecoderSpec, Goal, ModelSpec, NgbError, Ragged, Tracking, hookimpl
from neurobench_grasp.contract import TrainedNetwork


class Echo:
    """Returns its input, so that the exchange can be checked."""

    def fit(self, train, *, seed):
        self.learned = np.array([seed, len(train)])

    def activations(self, trials):
        return Activations({"learned": Ragged(np.ones((trials.offsets[-1], 1)) * self.learned[0], trials.offsets),
                            **trials.signals})

    def state(self):
        return {"learned": self.learned, "text": np.array("words"), "none": np.array(1.5),
                "small": np.zeros((2, 0), np.float32)}

    def restore(self, state):
        assert [str(state["text"]), float(state["none"]), state["small"].shape] == ["words", 1.5, (2, 0)]
        self.learned = state["learned"]

    def train(self, train, *, seed, steps, folder, monitor, threads, progress):
        progress(f"{steps} steps for \\x1b[31m{sorted(monitor)}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log").write_text(str(threads))
        facts = {"steps": steps, "curve": [{"steps": 1, "error": 2.5}], "threads": 1, "wall_time_s": 0.1}
        return TrainedNetwork({"w": np.arange(3.0)}, "muscle", {"units": [1, 2]}, facts)


class Mover(Echo):
    """Moves a hand, as it says; remembers whether it was given the same trials again."""

    seen = None

    def track(self, trials, *, goal=None):
        angles = trials.signals["latents"] if goal is None else goal.values
        return Tracking(angles, trials.signals["latents"])

    def embed(self, trials):
        return trials.signals["latents"]

    def observe(self, trials):
        again, self.seen = trials is self.seen, trials
        return Ragged(np.full((trials.offsets[-1], 1), float(again)), trials.offsets)

    def activations_of(self, observations):
        return Activations({"observed": observations})

    def untrained(self, *, seed):
        twin = Mover()
        twin.learned = np.array([-seed, 0])
        return twin


class Odd(Echo):
    """Runs some code when it is fitted, or gives something odd."""

    def __init__(self, code="", gives="None", port=0):
        self.code, self.gives, self.port = code, gives, port

    def fit(self, train, *, seed):
        exec(self.code, globals() | {"self": self, "train": train})

    def activations(self, trials):
        return eval(self.gives, globals() | {"trials": trials})


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (Path(self.path), "unpickled")


@hookimpl
def ngb_models():
    print("what a plugin prints when it is loaded")
    yield ModelSpec("echo", build=lambda seed: Echo(), summary="gives back", smoke={"code": "pass"},
                    depends_on=lambda seed, train: f"file {seed} {len(train)}")
    yield ModelSpec("mover", build=lambda seed: Mover(), summary="moves", controller=True, step_s=0.05, body="crane")
    yield ModelSpec("slow", build=lambda seed: Odd(code="Path('begun').touch(); time.sleep(99)"), summary="takes its time")
    yield ModelSpec("odd", build=lambda seed, **settings: Odd(**settings), summary="does anything")


@hookimpl
def ngb_decoders():
    yield DecoderSpec("its_decoder", build=lambda: None, summary="not usable from here")
'''
