"""The built-in dataset ``demo``: synthetic sessions, a self-test. See docs/demo.md."""

from neurobench_grasp.demo.files import DEMO_SHA256, demo_files, make_demo

__all__ = ["DEMO_SHA256", "demo_files", "make_demo"]
