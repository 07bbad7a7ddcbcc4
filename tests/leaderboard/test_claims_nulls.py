"""Without an effect, claims are hardly ever supported or contradicted."""

from dataclasses import replace

import numpy as np
import pytest
from claimed import NAMES, OF_UNITS, SD, encoding, moving, share, shares

from neurobench_grasp.scoring import intervals


@pytest.mark.slow
def test_without_an_effect_a_claim_is_hardly_ever_supported_or_contradicted():
    """All claims, 200 designs: for claims that something is as good, an effect of 0 is just not tolerated."""
    verdicts, _ = shares(200)
    assert list(verdicts) == NAMES
    assert share(verdicts, "supported") <= 0.05 and share(verdicts, "contradicted") <= 0.05
    assert share(verdicts, "missing") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_conditions", "sd"),
    [
        (10, {}),
        (10, {"network": 0.02}),
        (35, {"unit": 0.05}),
        (35, {"condition": 0.05}),
        (35, {"noise": 0.2}),
    ],
)
def test_nor_is_it_whatever_varies_most(n_conditions, sd):
    """200 designs; over the claims that are measured alike, of which each alone has twice the chance error."""
    verdicts, _ = shares(200, encoding, n_conditions=n_conditions, sd={**SD, **sd}, layers=False)
    for verdict in ("supported", "contradicted"):
        assert np.mean([verdicts[name].get(verdict, 0.0) for name in OF_UNITS]) <= 0.05
        assert verdicts["contrast"].get(verdict, 0.0) <= 0.05


@pytest.mark.slow
def test_a_standard_error_without_networks_supports_too_much(monkeypatch):
    """The check above can fail."""
    monkeypatch.setattr(intervals, "_draw_errors", lambda *_: [])
    verdicts, _ = shares(200, encoding, sd={**SD, "network": 0.02}, layers=False)
    assert np.mean([verdicts[name].get("supported", 0.0) for name in OF_UNITS]) > 0.1


@pytest.mark.slow
def test_a_sum_of_rows_without_the_errors_of_their_data_supports_too_much():
    """Networks share units and conditions, so that these do not average out."""

    def sure(rng):
        alone = [one for one in moving(rng) if one.record.protocol["name"] == "brain-control"]
        rows = lambda one: [{**r, "ci": [r["value"]] * 2} for r in one.record.scores]  # noqa: E731
        return [replace(one, record=replace(one.record, scores=rows(one))) for one in alone]

    verdicts, _ = shares(200, sure)
    assert verdicts["areas"].get("supported", 0.0) > 0.05
