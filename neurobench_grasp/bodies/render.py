"""Images of bodies, rendered off-screen by MuJoCo with any available OpenGL."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from neurobench_grasp.bodies.spec import PAINTED, SEEN, BodyModel, View
from neurobench_grasp.contract import Colour, Floats, Image
from neurobench_grasp.errors import NgbError, UnsupportedError

BACKENDS = ("egl", "osmesa", "cgl", "glfw")
"""OpenGL backends in the order they are tried; the first two need no display."""

_PROBE = "from mujoco.{} import GLContext; GLContext(8, 8).make_current()"
_CAMERA = "view"


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
        "No OpenGL is available to draw a body; install one that needs no display, on Debian and "
        "Ubuntu `apt-get install libegl1 libgl1-mesa-dri` or `apt-get install libosmesa6`."
    )


class Painter:
    """Draws postures from a camera fixed to the segment whose frame keypoints are expressed in.

    Parameters
    ----------
    body : BodyModel
    width, height : int
        Pixels.

    Raises
    ------
    UnsupportedError
        If the body has no view.
    NgbError
        If OpenGL is not available.
    """

    def __init__(self, body: BodyModel, width: int, height: int) -> None:
        if body.view is None:
            raise UnsupportedError(f"The body {body.name} has no view, from which it could be drawn.")
        self._body, self._view = body, body.view
        context = import_module(f"mujoco.{drawing_backend()}").GLContext  # independent of mujoco's own choice

        import mujoco

        self._mujoco, self._size = mujoco, (width, height)
        self._model = _scene_model(body, self._view, width, height)
        self._data = mujoco.MjData(self._model)
        self._painted = self._model.geom_group == PAINTED
        self._gl = context(width, height)
        self._gl.make_current()
        self._pencil = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._pencil)
        self._scene = mujoco.MjvScene(self._model, maxgeom=500)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._options = mujoco.MjvOption()
        self._options.geomgroup[:] = [group in (SEEN, PAINTED) for group in range(mujoco.mjNGROUP)]
        self._options.sitegroup[:] = self._options.tendongroup[:] = False
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = self._model.camera(_CAMERA).id

    def paint(self, joint_angles: Floats, colour: Colour) -> Image:
        """Draw one posture.

        Parameters
        ----------
        joint_angles : ndarray, shape (n_joints,)
            rad.
        colour : tuple of float
            Red, green and blue of the body, 0 … 1.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
        """
        mujoco = self._mujoco
        self._model.geom_rgba[self._painted, :3] = colour
        self._data.qpos[:] = self._body.qpos(joint_angles[None])[0]
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
        keypoints : ndarray, shape (3 · n_keypoints,)
            Metres in the body's frame.

        Returns
        -------
        ndarray, shape (n_keypoints, 2)
            Pixels from the left and from the top.
        """
        view = self._view
        x, y, z = np.stack(_camera_axes(view)) @ (keypoints.reshape(-1, 3) - view.look_at).T
        width, height = self._size
        scale = height / 2 / np.tan(np.radians(view.field_of_view) / 2) / (view.distance - z)
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


def _camera_axes(view: View) -> tuple[Floats, Floats, Floats]:
    """Return right, up and towards the camera in the body's frame."""
    towards = np.array(view.towards) / np.linalg.norm(view.towards)
    right = np.cross(view.up, towards)
    right /= np.linalg.norm(right)
    return right, np.cross(towards, right), towards


def _scene_model(body: BodyModel, view: View, width: int, height: int) -> Any:
    """Return the body on white, with a light and a camera."""
    import mujoco

    spec = body.spec.copy()
    spec.visual.global_.offwidth, spec.visual.global_.offheight = width, height
    spec.visual.quality.numslices, spec.visual.quality.numstacks = 16, 8  # of skin; halves the time
    spec.visual.headlight.ambient = spec.visual.headlight.diffuse = [0.35] * 3
    spec.visual.headlight.specular = [0.1] * 3
    spec.add_texture(
        name="background", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=[1, 1, 1], rgb2=[1, 1, 1], width=8, height=48,
    )  # fmt: skip
    right, up, towards = _camera_axes(view)
    segment = spec.body(body.frame_body)
    place = np.array(view.look_at) + view.distance * towards
    camera = segment.add_camera(name=_CAMERA, pos=place, fovy=view.field_of_view)
    camera.alt.type = mujoco.mjtOrientation.mjORIENTATION_XYAXES
    camera.alt.xyaxes = [*right, *up]
    lamp = towards + 0.6 * up - 0.6 * right
    segment.add_light(
        pos=np.array(view.look_at) + lamp, dir=-lamp, type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        diffuse=[0.6] * 3, specular=[0.2] * 3, castshadow=False,
    )  # fmt: skip
    view.dress(spec)
    return spec.compile()
