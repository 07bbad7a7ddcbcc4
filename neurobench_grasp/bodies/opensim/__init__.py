"""OpenSim models as bodies of MuJoCo."""

from neurobench_grasp.bodies.opensim.convert import Converted, convert
from neurobench_grasp.bodies.opensim.document import OpenSimModel, read_osim
from neurobench_grasp.bodies.opensim.scaling import scaled

__all__ = ["Converted", "OpenSimModel", "convert", "read_osim", "scaled"]
