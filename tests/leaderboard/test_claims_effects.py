"""Planted effects are supported as often as the power says."""

import pytest
from claimed import MM, NAMES, OF_UNITS, moving, shares

EFFECTS = {
    **dict.fromkeys((*OF_UNITS, "layer", "recurrent_layer"), 0.01),
    "quadratic": 0.05,  # where linear kinematics are closer
    "contrast": 0.005,
    "accuracy": 0.88,
    "areas": 0.05,
    **dict.fromkeys(("embedding", "tens", "noise"), 0.8),
}
"""Smallest effects of interest: errors are about 8 mm."""


@pytest.mark.slow
def test_an_effect_is_supported_as_often_as_the_power_says():
    """Of the smallest size of interest, 200 designs, to 10 points; that of layers is more than is needed."""
    verdicts, power = shares(200, **EFFECTS)
    for name in NAMES:
        assert verdicts[name].get("supported", 0.0) == pytest.approx(power[name], abs=0.1), name
        assert verdicts[name].get("contradicted", 0.0) <= 0.01, name


@pytest.mark.slow
def test_as_good_is_supported_if_equal_and_contradicted_if_worse_by_twice_what_is_tolerated():
    """With 100 conditions and networks that differ little; tolerated is a tenth of the error."""
    much = {"n_conditions": 100, "sd": {**MM, "network": 0.1}}
    equal, _ = shares(60, moving, **much, embedding=0.8, tens=0.8)
    worse, _ = shares(60, moving, **much, embedding=-0.8, tens=-0.8)
    for name in ("embedding", "tens"):
        assert equal[name]["supported"] >= 0.9 and worse[name]["contradicted"] >= 0.9
