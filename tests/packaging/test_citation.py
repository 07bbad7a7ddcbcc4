"""CITATION.cff names this version and the licence of the package."""

import tomllib

import yaml

from neurobench_grasp import __version__
from neurobench_grasp.resources import resource


def test_the_citation_is_that_of_this_version():
    root = resource("nwb_schemas").parent
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert citation["version"] == __version__ and citation["license"] == project["license"]
    assert (
        citation["cff-version"] == "1.2.0"
        and citation["message"]
        and citation["authors"]
        and citation["title"]
    )
