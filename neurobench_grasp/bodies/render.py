"""Images of the hand, rendered off-screen by MuJoCo with any available OpenGL."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.bodies.myohand import WRIST, build_hand
from neurobench_grasp.contract import Floats
from neurobench_grasp.errors import NgbError

BACKENDS = ("egl", "osmesa", "cgl", "glfw")
"""OpenGL backends in the order they are tried; the first two need no display."""

Colour = tuple[float, float, float]
Image = NDArray[np.uint8]

_PROBE = "from mujoco.{} import GLContext; GLContext(8, 8).make_current()"
_CAMERA = "palm"
_BONES, _FLESH, _UNSEEN = 0, 4, 5  # groups of geoms: MyoSuite's two visible ones, and a hidden one
_FOREARM = ("ulna", "radius")
_ARM = ("clavicle", "scapula", "humerus", *_FOREARM)
_BONE_COLOUR = [0.93, 0.90, 0.84, 1.0]
_FLESH_OPACITY = 0.4
_LOOK_AT = np.array([0.015, -0.075, -0.015])  # middle of the hand in the wrist's frame, m
_FROM = np.array([0.80, -0.15, -0.58])  # towards the camera: radial and palmar
_DISTANCE, _FIELD_OF_VIEW = 0.6, 23.0  # m, degrees


def drawing_backend() -> str:
    """Find a working OpenGL backend: the one in ``MUJOCO_GL``, or else the first of :data:`BACKENDS`.

    Raises
    ------
    NgbError
        If none works; states what to install.
    """
    return _working(os.environ.get("MUJOCO_GL", "").lower().strip())


@cache
def _working(asked: str) -> str:
    """Try each backend in a subprocess, since a failed OpenGL affects later ones in the same process."""
    for name in (asked,) if asked else BACKENDS:
        tried = subprocess.run([sys.executable, "-c", _PROBE.format(name)], capture_output=True)
        if tried.returncode == 0:
            return name
    if asked:
        raise NgbError(
            f"MUJOCO_GL={asked} does not work here; unset it, or set it to one of: {', '.join(BACKENDS)}."
        )
    raise NgbError(
        "No OpenGL is available to draw the hand; install one that needs no display, on Debian and "
        "Ubuntu `apt-get install libegl1 libgl1-mesa-dri` or `apt-get install libosmesa6`."
    )


class HandPainter:
    """Draws postures from a camera fixed to the wrist, on its radial and palmar side.

    Fingers then appear where keypoint errors are measured, and wrist movements appear in the forearm.

    Parameters
    ----------
    width, height : int
        Pixels.

    Raises
    ------
    NgbError
        If OpenGL is not available.
    """

    def __init__(self, width: int, height: int) -> None:
        context = import_module(f"mujoco.{drawing_backend()}").GLContext  # independent of mujoco's own choice

        import mujoco

        self._mujoco, self._size = mujoco, (width, height)
        self._model = _scene_model(width, height)
        self._data = mujoco.MjData(self._model)
        self._flesh = self._model.geom_group == _FLESH
        self._gl = context(width, height)
        self._gl.make_current()
        self._pencil = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._pencil)
        self._scene = mujoco.MjvScene(self._model, maxgeom=500)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._options = mujoco.MjvOption()
        self._options.geomgroup[:] = [group in (_BONES, _FLESH) for group in range(mujoco.mjNGROUP)]
        self._options.sitegroup[:] = self._options.tendongroup[:] = False
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = self._model.camera(_CAMERA).id

    def paint(self, joint_angles: Floats, colour: Colour) -> Image:
        """Draw one posture.

        Parameters
        ----------
        joint_angles : ndarray, shape (23,)
            rad.
        colour : tuple of float
            Red, green and blue of the hand, 0 … 1.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
        """
        mujoco = self._mujoco
        self._model.geom_rgba[self._flesh, :3] = colour
        self._data.qpos[:] = joint_angles
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(
            self._model, self._data, self._options, None, self._camera, everything, self._scene
        )
        return self._pixels()

    def project(self, keypoints: Floats) -> Floats:
        """Return the pixel positions of keypoints.

        Parameters
        ----------
        keypoints : ndarray, shape (60,)
            Metres in the wrist's frame.

        Returns
        -------
        ndarray, shape (20, 2)
            Pixels from the left and from the top.
        """
        axes = np.stack(_camera_axes())
        x, y, z = axes @ (keypoints.reshape(-1, 3) - _LOOK_AT).T
        width, height = self._size
        scale = height / 2 / np.tan(np.radians(_FIELD_OF_VIEW) / 2) / (_DISTANCE - z)
        return np.stack([width / 2 + scale * x, height / 2 - scale * y], axis=1)

    def close(self) -> None:
        """Release OpenGL's resources."""
        self._pencil.free()
        self._gl.free()

    def _pixels(self) -> Image:
        width, height = self._size
        frame = self._mujoco.MjrRect(0, 0, width, height)
        self._gl.make_current()
        self._mujoco.mjr_render(frame, self._scene, self._pencil)
        pixels = np.empty((height, width, 3), np.uint8)
        self._mujoco.mjr_readPixels(pixels, None, frame, self._pencil)
        return pixels[::-1]  # OpenGL counts rows from the bottom


def _camera_axes() -> tuple[Floats, Floats, Floats]:
    """Return right, up and towards the camera in the wrist's frame; the fingers, along −y, point up."""
    towards = _FROM / np.linalg.norm(_FROM)
    right = np.cross([0.0, -1.0, 0.0], towards)
    right /= np.linalg.norm(right)
    return right, np.cross(towards, right), towards


def _scene_model(width: int, height: int) -> Any:
    """Return the hand on white, bones in translucent skin, with a light and a camera at the wrist."""
    import mujoco

    spec = build_hand()[1].copy()
    spec.visual.global_.offwidth, spec.visual.global_.offheight = width, height
    spec.visual.quality.numslices, spec.visual.quality.numstacks = 16, 8  # of the skin; halves the time
    spec.visual.headlight.ambient = spec.visual.headlight.diffuse = [0.35] * 3
    spec.visual.headlight.specular = [0.1] * 3
    spec.add_texture(
        name="background", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=[1, 1, 1], rgb2=[1, 1, 1], width=8, height=48,
    )  # fmt: skip
    right, up, towards = _camera_axes()
    wrist = spec.body(WRIST)
    camera = wrist.add_camera(name=_CAMERA, pos=_LOOK_AT + _DISTANCE * towards, fovy=_FIELD_OF_VIEW)
    camera.alt.type = mujoco.mjtOrientation.mjORIENTATION_XYAXES
    camera.alt.xyaxes = [*right, *up]
    lamp = towards + 0.6 * up - 0.6 * right
    wrist.add_light(
        pos=_LOOK_AT + lamp, dir=-lamp, type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, diffuse=[0.6] * 3,
        specular=[0.2] * 3, castshadow=False,
    )  # fmt: skip
    for geom in spec.geoms:
        in_arm = geom.parent.name.startswith(_ARM)
        if geom.group == _BONES and (not in_arm or geom.parent.name.startswith(_FOREARM)):
            geom.rgba = _BONE_COLOUR
        elif geom.group == _FLESH and not in_arm:  # that of the arm would hide the wrist's bones
            geom.material, geom.rgba = "", [1, 1, 1, _FLESH_OPACITY]
        else:
            geom.group = _UNSEEN
    return spec.compile()
