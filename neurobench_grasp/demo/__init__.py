"""The built-in datasets ``demo`` and ``mixed``: synthetic, self-tests. See docs/demo.md, docs/mixed.md."""

from neurobench_grasp.demo.files import DEMO_SHA256, demo_files, make_demo

__all__ = ["DEMO_SHA256", "demo_files", "make_demo"]
