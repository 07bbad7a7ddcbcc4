"""A plugin that prints while it loads, in Python and below it."""

import os

from neurobench_grasp import ModelSpec, hookimpl

print("noise from Python")
os.write(1, b"noise from C\n")


@hookimpl
def ngb_models():
    print("noise from a hook")
    yield ModelSpec("noisy", build=lambda seed: None, summary="prints")
