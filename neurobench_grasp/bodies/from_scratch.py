"""Bodies whose MjSpec is made here: without gravity, in rad, with muscles on fixed tendons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def new_spec() -> Any:
    """Return an MjSpec without gravity, in rad, whose muscles state their length ranges."""
    import mujoco

    spec = mujoco.MjSpec()
    spec.option.gravity = [0, 0, 0]
    spec.compiler.degree = False
    spec.compiler.LRopt.useexisting = True
    return spec


def add_muscle(
    spec: Any,
    name: str,
    arms: Mapping[str, float],
    limits: Mapping[str, tuple[float, float]],
    neutral: Mapping[str, float],
    *,
    fibre: float,
    at_neutral: float = 1.0,
    **parameters: Any,
) -> None:
    """Add a muscle on a fixed tendon, ``<name>_tendon``; its fibres change as much as the tendon.

    Parameters
    ----------
    spec : MjSpec
    name : str
    arms : mapping of str to float
        Joint → change of the tendon's length with its angle, m/rad; negative for a flexor.
    limits : mapping of str to (float, float)
        Joint → lowest and highest angle, rad.
    neutral : mapping of str to float
        Joint → angle in the neutral posture, rad.
    fibre : float
        Optimal length of the fibres, m.
    at_neutral : float
        Their length in the neutral posture, in optimal lengths.
    parameters
        Of MuJoCo's ``set_to_muscle``.
    """
    import mujoco

    tendon = spec.add_tendon(name=f"{name}_tendon")
    for joint, arm in arms.items():
        if arm:
            tendon.wrap_joint(joint, arm)
    ends = [[arm * angle for angle in limits[joint]] for joint, arm in arms.items()]
    shortest, longest = (sum(choose(pair) for pair in ends) for choose in (min, max))
    rest = sum(arm * neutral[joint] for joint, arm in arms.items())
    actuator = spec.add_actuator(name=name, target=f"{name}_tendon", ctrllimited=True, ctrlrange=[0, 1])
    actuator.trntype = mujoco.mjtTrn.mjTRN_TENDON
    actuator.set_to_muscle(
        range=[at_neutral + (length - rest) / fibre for length in (shortest, longest)], **parameters
    )
    actuator.lengthrange = [shortest, longest]
