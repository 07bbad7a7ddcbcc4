import sys

import pytest

from neurobench_grasp.errors import PluginError, UnknownNameError
from neurobench_grasp.plugins import load_registry


def info(registry, name):
    (found,) = [p for p in registry.plugins() if p.name == name]
    return found


def test_a_good_plugin_offers_all_four_kinds(registry_with):
    registry = registry_with("good")
    assert registry.model("fake_model").spec.summary == "a fake"
    assert registry.model("fake_model").provider == "fake-good 2.1"
    assert registry.dataset("fake_data").spec.synthetic
    assert registry.protocol("fake_protocol").spec.version == 3
    assert registry.decoder("fake_decoder").distribution == "fake-good"
    assert info(registry, "good").status == "ok"
    assert set(info(registry, "good").offers) == {
        "model fake_model",
        "dataset fake_data",
        "protocol fake_protocol",
        "decoder fake_decoder",
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "importerror",
            "ModuleNotFoundError: No module named 'a_module_that_nobody_has' (importerror/fake_imp",
        ),
        ("exits", "SystemExit: this plugin wants to stop the tool (exits/fake_exits.py:3)"),
        ("raises", "ZeroDivisionError: in the middle of yielding (raises/fake_raises.py:7)"),
        ("wrongtype", "ngb_models yielded a dict; it must yield ModelSpec objects"),
        ("wrongkind", "ngb_models yielded a DatasetSpec; it must yield ModelSpec objects"),
        ("badname", "ngb_models yielded the name '../../etc/passwd'; a name consists of lower-case letters"),
        ("badargument", "Argument(s) {'registry'} are declared in the hookimpl but can not be found"),
        ("badhook", "unknown hook 'ngb_modles'"),
        ("returnsnone", "ngb_models returned None; it must yield ModelSpec objects"),
        ("nohook", "it marks no function with @hookimpl"),
    ],
)
def test_a_broken_plugin_is_kept_with_its_reason_and_stops_nothing(registry_with, name, reason):
    registry = registry_with(name, "good")
    broken = info(registry, name)
    assert broken.status == "broken"
    assert reason in broken.reason
    assert "\n" not in broken.reason
    assert broken.distribution == f"fake-{name}"
    assert broken.version
    assert broken.offers == ()
    assert registry.model("fake_model").distribution == "fake-good"
    assert not [m for m in registry.models() if m.distribution == f"fake-{name}"]


def test_unreadable_entry_points_are_a_broken_plugin(registry_with):
    registry = registry_with("unreadable", "good")
    assert info(registry, "fake-unreadable").reason == "its entry_points.txt cannot be read"
    assert registry.model("fake_model")


def test_two_plugins_with_one_name_are_both_named_and_other_names_work(registry_with):
    registry = registry_with("twin_a", "twin_b")
    with pytest.raises(
        PluginError, match=r"'twin' is offered by fake-twin_a 1\.0 and fake-twin_b 2\.0; uninstall"
    ):
        registry.model("twin")
    assert registry.model("only_a").distribution == "fake-twin_a"
    assert registry.model("only_b").distribution == "fake-twin_b"
    for name in ("twin_a", "twin_b"):
        assert info(registry, name).status == "clash"
        assert "fake-twin_a 1.0 and fake-twin_b 2.0" in info(registry, name).reason


def test_one_plugin_that_offers_a_name_twice_is_a_clash(registry_with):
    registry = registry_with("twice")
    with pytest.raises(PluginError, match=r"fake-twice 1\.0 and fake-twice 1\.0"):
        registry.model("doubled")


def test_disabling_a_plugin_solves_a_clash(registry_with, monkeypatch):
    monkeypatch.setenv("NGB_DISABLE_PLUGINS", "twin_b, something_else")
    registry = registry_with("twin_a", "twin_b")
    assert registry.model("twin").distribution == "fake-twin_a"
    assert info(registry, "twin_b").status == "disabled"
    assert info(registry, "twin_a").status == "ok"


def test_an_unknown_name_brings_suggestions_and_what_there_is(registry_with):
    registry = registry_with("good")
    with pytest.raises(UnknownNameError, match=r"no model 'fake_modle'. Did you mean 'fake_model'") as caught:
        registry.model("fake_modle")
    assert "fake_model" in str(caught.value).split("Installed:")[1]
    with pytest.raises(UnknownNameError, match=r"no decoder 'xyz'. Installed: fake_decoder"):
        registry.decoder("xyz")


def test_an_unknown_name_blames_plugins_that_could_not_be_loaded(registry_with):
    registry = registry_with("importerror")
    with pytest.raises(UnknownNameError, match=r"importerror.* could not be loaded: see `ngb plugins`"):
        registry.model("the_model_of_the_broken_plugin")


def test_the_registry_is_loaded_once(registry_with):
    assert registry_with("good") is load_registry()


def test_the_first_of_two_copies_of_a_distribution_counts(registry_with, tmp_path, monkeypatch):
    """As Python itself imports the first on the path."""
    copy = tmp_path / "fake_good-9.9.dist-info"
    copy.mkdir()
    (copy / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-good\nVersion: 9.9\n")
    (copy / "entry_points.txt").write_text("[neurobench_grasp]\ngood = fake_good\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert registry_with("good").model("fake_model").version == "2.1"
