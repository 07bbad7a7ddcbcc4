"""Every way to break the contract is caught by the check that is named after it, with advice."""

import pytest

from neurobench_grasp.checks import Limits, planned, run_checks
from neurobench_grasp.checks.sample_session import write_sample
from neurobench_grasp.errors import UnknownNameError

CARD = (
    "ModelCard(licence='CC0-1.0', authors=('Author',), citation='', action_space='none', training_data=(), "
    "parameters={parameters}, steps=0, compute='none', seeds=(), simulator='none'{more})"
)
PLUGIN = """
{before}
from neurobench_grasp import ModelCard, ModelSpec, hookimpl

@hookimpl
def {hook}({argument}):
    yield ModelSpec("{name}", build=lambda seed: None, summary="a fake", card={card})
"""


RECURRENT = {"initial_states", "resets_between_calls", "resets_between_trials", "steps_alike"}


def plugin(name, *, before="", hook="ngb_models", argument="", card=None):
    card = card or CARD.format(parameters=0, more="")
    return PLUGIN.format(name=name, before=before, hook=hook, argument=argument, card=card)


@pytest.fixture(scope="module")
def zoo(install):
    """Report on a distribution of models that each break one rule."""
    install("fake_zoo")
    return run_checks("zoo", Limits(check_s=8))


def failed(report, subject):
    return {row.check: row.message for row in report.rows if row.subject == subject and row.status == "fail"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "check", "advice"),
    [
        ("bidirectional", "causal", "Bidirectional networks"),
        ("phase", "causal", "depends on the trial's duration"),
        ("noisy", "repeatable", "draw no noise in `activations`"),
        ("nan", "finite", "check for divisions by zero"),
        ("lastrow", "every_step", "Return all steps, with the trials' offsets"),
        ("laststep", "every_step", "return what was computed at every step"),
        ("batch", "batch_invariant", "take means and scales from training trials"),
        ("carriesover", "batch_invariant", "reset the state for each trial"),
        ("readsnwb", "no_neurons", "fake_zoo.py"),
        ("readsdemo", "no_neurons", "calls neurobench_grasp.data.load_session"),
        ("readsinc", "no_neurons", "reads a recording in the cache folder"),
        ("makesneurons", "no_neurons", "imports neurobench_grasp.demo.neurons"),
        ("writes", "no_stray_writes", "writes ~/weights.npy (fake_zoo.py"),
        ("writesinc", "no_stray_writes", "leaves ./cache.bin"),
        ("openssocket", "no_network", "connect ('192.0.2.1', 80) (fake_zoo.py"),
        ("unpickles", "no_pickle", "Keep weights as safetensors"),
        ("startsprograms", "no_processes", "fake_zoo.py"),
        ("editsinputs", "inputs_unchanged", "Copy before you change"),
        ("sharedrandom", "own_random_numbers", "np.random.default_rng(seed)"),
        ("unseeded", "deterministic", "np.random.default_rng(seed)"),
        ("objectstate", "plain_state", "return the fitted parameters as arrays of numbers"),
        ("forgets", "restores", "put everything that `fit` computed into `state`"),
        ("constant", "varies", "omit it, or fix it"),
        ("raises", "fits", "`fit` raises ValueError: the matrix is singular (fake_zoo.py:"),
        ("missinglater", "fits", "`pip install a_module_that_absent_package_has`"),
        ("incomplete", "builds", "It lacks restore, state of a Model"),
        ("wrongargument", "builds", "`fit` cannot be called as fit(train, seed=…)"),
        ("callsexit", "gives_layers", "must not end the program"),
        ("quits", "gives_layers", "ended the process (exit code 3)"),
        ("crashes", "plain_state", "crashed the process (SIGSEGV)"),
        ("hangs", "plain_state", "did not finish within 8 s and was stopped"),
        ("ignoresgoals", "takes_goals", "The body ignores `goal`"),
        ("ignorespostures", "takes_postures", "The body ignores goals of the kind 'joint_angles'"),
        ("readsoneposture", "takes_postures", "concatenated: 115 columns"),
        ("leaksacrossbatches", "resets_between_calls", "keep no state in the model"),
        ("startswithnoise", "initial_states", "each trial must start alike"),
        ("forgetsinsteps", "steps_alike", "the state that it is given"),
        ("no_card", "card", "add `card=ModelCard(licence=…"),
    ],
)
def test_a_broken_rule_is_caught_by_its_own_check_and_by_no_other(zoo, model, check, advice):
    found = failed(zoo, f"model {model}")
    assert list(found) == [check]
    assert advice in found[check]


@pytest.mark.slow
def test_what_depends_on_a_broken_rule_is_reported_as_not_run(zoo):
    assert not zoo.passed
    rows = {row.check: row for row in zoo.rows if row.subject == "model raises"}
    assert rows["causal"].status == "not run"
    assert rows["causal"].message == "Not run, because fits did not pass."
    assert rows["no_network"].status == "pass"


@pytest.mark.slow
def test_a_good_model_passes_and_what_it_does_not_declare_is_skipped(zoo):
    rows = {row.check: row.status for row in zoo.rows if row.subject == "model good"}
    skipped = {
        "tracks",
        "tracks_repeatably",
        "embeds",
        "takes_goals",
        "takes_postures",
        "observes",
        "untrained_twin",
        *RECURRENT,
    }
    assert {check for check, status in rows.items() if status == "skip"} == skipped
    assert set(rows.values()) == {"pass", "skip"}


@pytest.mark.slow
def test_a_model_is_tried_on_the_steps_that_it_states(zoo):
    assert not failed(zoo, "model fast")
    assert {row.status for row in zoo.rows if row.subject == "model fast"} == {"pass", "skip"}


@pytest.mark.slow
def test_a_good_controller_passes(zoo):
    rows = {row.check: row.status for row in zoo.rows if row.subject == "model teleports"}
    assert {check for check, status in rows.items() if status == "skip"} == {"untrained_twin", *RECURRENT}
    assert set(rows.values()) == {"pass", "skip"}


@pytest.mark.slow
def test_a_state_that_leaks_to_the_next_trial_is_caught_by_name(zoo):
    found = failed(zoo, "model leaksacrosstrials")
    assert set(found) == {"observes", "resets_between_trials"}  # the open pass is not that of `activations`
    assert "begin each trial with `initial_state`" in found["resets_between_trials"]


@pytest.mark.slow
def test_a_recurrent_controller_passes(zoo):
    rows = {row.check: row.status for row in zoo.rows if row.subject == "model remembers"}
    assert {check for check, status in rows.items() if status == "skip"} == {"untrained_twin"}
    assert set(rows.values()) == {"pass", "skip"}


@pytest.mark.slow
def test_a_controller_without_a_hand_fails_with_its_missing_methods(zoo):
    assert "activations_of, embed, observe, track" in failed(zoo, "model no_hand")["builds"]


@pytest.mark.parametrize(
    ("name", "text", "check", "advice"),
    [
        ("raising", plugin("m1", before="1 / 0"), "loads", "ZeroDivisionError: division by zero (raising0/fake_raising.py:2"),
        ("lacking", plugin("m2", before="import absent_package.has.this"), "loads", "`pip install absent_package`, and add"),
        ("misnamed", plugin("m3", hook="ngb_modles"), "loads", "rename ngb_modles to ngb_models"),
        ("argued", plugin("m4", argument="registry"), "loads", "Hooks take no arguments"),
        ("quitting", plugin("m5", before="import sys; sys.exit(1)"), "loads", "must not end the program"),
        ("gone", plugin("m6", before="import os; os._exit(7)"), "loads", "ended the process (exit code 7)"),
        ("slow", plugin("m7", before="import time; time.sleep(30)"), "import_time", "more than 1.5 s, and was stopped"),
        ("fat", plugin("m8", before="x = bytearray(b'1') * 300_000_000"), "import_memory", "more than 150 MB"),
        ("heavy", plugin("m9", before="import mujoco"), "cheap_listing", "Its hooks import mujoco; move"),
        ("miscounted", plugin("m10", card=CARD.format(parameters="'many'", more="")), "card_fits", "field parameters"),
        ("unknown_field", plugin("m11", card=CARD.format(parameters=0, more=", lab='x'")), "card_fits", "'lab'"),
    ],
)  # fmt: skip
def test_a_plugin_that_cannot_be_listed_is_caught(install, name, text, check, advice):
    install(f"fake_{name}", text, keep=False)
    report = run_checks(name, Limits(import_s=1.5 if name == "slow" else 60))
    found = failed(report, f"plugin {name}")
    assert list(found) == [check]
    assert advice in found[check]
    assert {row.subject for row in report.rows} == {f"plugin {name}"} or check in (
        "import_memory",
        "cheap_listing",
    )


def test_two_plugins_with_one_name_are_both_named(install):
    for name in ("twin_a", "twin_b"):
        install(f"fake_{name}", plugin("the_same"))
    report = run_checks("twin_a")
    message = failed(report, "plugin twin_a")["unique_names"]
    assert message.startswith("Model the_same is offered by fake-twin_")
    assert all(f"by fake-twin_{which} 1.0" in message for which in "ab")
    assert {subject for subject, _ in planned("the_same")} == {
        "plugin twin_a",
        "plugin twin_b",
        "model the_same",
    }


def test_pickled_weights_in_a_distribution_are_reported(install):
    install("fake_weights", plugin("weighty"), files=("weights.pt", "more.safetensors", "notes.txt"))
    found = failed(run_checks("weighty"), "model weighty")
    assert "It contains weights.pt" in found["no_pickle"]
    assert (
        "It contains more.safetensors" in found["names_its_weights"]
        and "depends_on" in found["names_its_weights"]
    )


def test_an_unknown_name_brings_near_ones():
    with pytest.raises(UnknownNameError, match=r"'linear_kinematik'. Did you mean 'linear_kinematic'"):
        planned("linear_kinematik")


@pytest.fixture(scope="module")
def others(install):
    """Report on datasets, protocols and decoders."""
    root = install("fake_others")
    write_sample(root / "good.nwb", n_objects=6, n_repeats=3)
    write_sample(root / "small.nwb", n_objects=4, n_repeats=3)
    (root / "bad.nwb").write_text("no HDF5 at all")
    return run_checks("others")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subject", "check", "advice"),
    [
        ("dataset no_licence", "licence", "set `licence`"),
        ("dataset no_file", "files_exist", "none.nwb, which do not exist"),
        ("dataset no_nwb", "readable", "bad.nwb"),
        ("dataset undeclared", "declares_synthetic", "set `synthetic=True`"),
        ("dataset twice", "unique_ids", "rename one"),
        ("dataset small", "enough_conditions", "It has 4 conditions"),
        ("protocol version_0", "version", "use 1"),
        ("protocol gives_list", "gives_scores", "returns a list"),
        ("protocol bad_row", "follows_schema", "metric"),
        ("protocol draws", "same_scores_again", "np.random.default_rng(context.seed)"),
        ("protocol odd", "plain_settings", "not plain JSON values"),
        ("decoder mixes", "decodes", "mixes trials"),
        ("decoder divides", "takes_silence", "silent in training"),
        ("decoder noreset", "is_decoder", "fit, reset and observe"),
    ],
)
def test_datasets_protocols_and_decoders_are_caught_too(others, subject, check, advice):
    found = failed(others, subject)
    assert list(found) == [check]
    assert advice in found[check]


@pytest.mark.slow
def test_good_ones_pass(others):
    for subject in ("dataset good_data", "protocol good_protocol", "decoder newest"):
        assert {row.status for row in others.rows if row.subject == subject} == {"pass"}
