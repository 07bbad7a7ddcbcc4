"""The built-in datasets, synthetic self-tests; see docs/demo.md and docs/mixed.md."""

from neurobench_grasp.demo.files import DEMO_SHA256, demo_files, make_demo

__all__ = ["DEMO_SHA256", "demo_files", "make_demo"]
