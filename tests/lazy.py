"""Modules that are imported when a test first uses them, so that collecting the tests takes seconds."""

from importlib import import_module


class Lazy:
    """Stand-in for a module: its attributes are those of the module, which the first of them imports."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str):
        if attribute.startswith("_"):
            raise AttributeError(attribute)  # pytest inspects every name of a test module
        return getattr(import_module(self._name), attribute)
