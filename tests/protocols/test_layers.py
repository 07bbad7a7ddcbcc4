import numpy as np
import pytest
from planted import context_of, population

from neurobench_grasp.contract import Activations, Ragged
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols import layers
from neurobench_grasp.protocols.encoding import protocol as encoding


@pytest.fixture(scope="module")
def analysed():
    """Rows of the encoding protocol and of the layer analysis for three layers of one model."""
    rng = np.random.default_rng(5)
    session, _ = population(rng, snr=1.0, lag=2, n_objects=20, n_repeats=5, n_units=8, n_latents=4)
    latents = session.trials.signals["latents"]
    wide = np.hstack([latents.values, rng.standard_normal((len(latents.values), 90))])
    whole = {
        "latents": latents,
        "half": Ragged(latents.values[:, :2], latents.offsets),
        "wide": Ragged(wide, latents.offsets),
    }
    context = context_of(session, activations=lambda trials: Activations(whole))
    return encoding.run(context).rows, layers.run(context).rows


def by_number(rows, layer):
    return {r["n_components"]: r["value"] for r in rows if r["layer"] == layer}


def test_with_all_components_it_is_the_encoding_score_of_the_layer(analysed):
    encoded, rows = analysed
    for layer in ("latents", "half", "wide"):
        whole = next(
            r
            for r in encoded
            if r.get("layer") == layer and r["metric"] == "single_trial_ev" and r["split"] == "ood"
        )
        last = next(r for r in rows if r["layer"] == layer and r["n_components"] == 78)
        assert last["value"] == pytest.approx(whole["value"], abs=1e-6)
        assert last["median"] == pytest.approx(whole["median"], abs=1e-6)


def test_a_layer_gains_until_its_components_are_used_up(analysed):
    _, rows = analysed
    latents = by_number(rows, "latents")
    assert latents[1] < latents[2] < latents[5]
    assert latents[5] == latents[10] == latents[78] == pytest.approx(0.5, abs=0.04)
    assert by_number(rows, "half")[2] == by_number(rows, "half")[78]


def test_width_alone_wins_nothing(analysed):
    _, rows = analysed
    wide, narrow = by_number(rows, "wide"), by_number(rows, "latents")
    assert all(wide[n] < narrow[n] + 0.005 for n in wide)


def test_it_needs_units():
    session, _ = population(np.random.default_rng(0), n_objects=5, n_repeats=4, n_units=0)
    with pytest.raises(UnsupportedError, match="no units"):
        layers.run(context_of(session))
