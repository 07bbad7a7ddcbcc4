"""Grid files and the site's settings: what they say, and one sentence for what they may not."""

import pytest

from neurobench_grasp.errors import NgbError
from neurobench_grasp.run.choice import read_choices, same_isolation
from neurobench_grasp.run.resources import KINDS, Resources, Site, read_site


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "grid.yaml"
        path.write_text(text)
        return path

    return write


def test_a_grid_file_combines_what_it_names(written):
    first, second = read_choices(
        written("""
- models: [a, b]
  datasets: [demo, x.nwb]
  protocols: [encoding]
  seeds: 3
  curves: true
  layout: one
- models: [c]
  seeds: [4, 2, 4]
  train: false
""")
    )
    assert (first.models, first.datasets, first.protocols) == (["a", "b"], ["demo", "x.nwb"], ["encoding"])
    assert list(first.seeds) == [0, 1, 2] and first.curves and first.options.layout == "one"
    assert first.options.train and not second.options.train
    assert (second.datasets, second.seeds, second.protocols) == (["demo"], [4, 2], [])
    (only,) = read_choices(written("models: [a]"))
    assert only.seeds is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("models: a", "'models'"),
        ("models: [1]", "'models'"),
        ("{}", "names no models"),
        ("[]", "chooses nothing"),
        ("3", "not a mapping"),
        ("- models: [a]\n- 3", "block 2 is not a mapping"),
        ("models: [a]\nseeds: 0", "'seeds'"),
        ("models: [a]\nseeds: [-1]", "'seeds'"),
        ("models: [a]\nseeds: true", "'seeds'"),
        ("models: [a]\nseeds: 10000000", "'seeds'"),
        ("models: [a]\ncurves: 1", "'curves'"),
        ("models: [a]\nqueue: long", "unknown field 'queue'"),
        ("models: [a]\ndataset: demo", "did you mean 'datasets'"),
        ("models: [a]\nquarantine: 1", "'quarantine'"),
        ("models: [a]\nmodels: [b]", "not a YAML file"),
        ("models: [a", "not a YAML file"),
    ],
)
def test_what_a_grid_file_may_not_say_is_one_sentence(written, text, named):
    with pytest.raises(NgbError, match=named):
        read_choices(written(text))


def test_parts_with_different_isolated_plugins_are_refused(written):
    choices = read_choices(written("- {models: [a], isolated: [x]}\n- {models: [b]}"))
    with pytest.raises(NgbError, match="separate file"):
        same_isolation(choices)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def write(text):
        (tmp_path / "ngb").mkdir(exist_ok=True)
        (tmp_path / "ngb" / "slurm.yaml").write_text(text)

    return write


def test_a_site_changes_what_it_names_and_nothing_else(site):
    assert read_site() == Site()
    site("""
partition: long
modules: [python/3.11]
workers: 3
resources:
  score: {memory_gb: 2.5}
  train: {cores: 8, gpus: 1}
""")
    found = read_site()
    assert (found.partition, found.modules, found.workers) == ("long", ("python/3.11",), 3)
    assert found.resources["score"] == Resources(memory_gb=2.5)
    assert (found.resources["train"].cores, found.resources["train"].gpus) == (8, 1)
    assert found.resources["network"] == KINDS["network"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("3", "is not a mapping"),
        ("queue: long", "unknown field 'queue'"),
        ("partition: [a]", "partition is"),
        ('partition: "a\\nb"', "partition is"),
        ("modules: a", "modules is"),
        ("workers: 0", "workers is"),
        ("resources: 3", "resources is 3"),
        ("resources: {paint: {}}", "unknown kind 'paint'"),
        ("resources: {score: 3}", "resources.score is 3"),
        ("resources: {score: {cores: 0}}", "resources.score.cores is 0"),
        ("resources: {score: {cores: 1.5}}", "resources.score.cores is 1.5"),
        ("resources: {score: {cores: true}}", "resources.score.cores is True"),
        ("resources: {score: {days: 1}}", "resources.score.days is 1"),
        ("a: [", "not a YAML file"),
    ],
)
def test_what_a_site_may_not_say_is_one_sentence(site, text, named):
    site(text)
    with pytest.raises(NgbError, match=named) as raised:
        read_site()
    assert "slurm.yaml" in str(raised.value)
