"""The video: recorded and simulated bodies side by side, one frame per step, with captions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import Colour, Floats, Progress
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.plots.trajectory import RECORDED, SIMULATED, Trajectory

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

FRAMES_PER_SECOND = 25
PANEL = (368, 400)  # pixels
CAPTIONS = (40, 24)  # above and below; the whole is a multiple of 16 either way, as mp4 likes it
_FONT_SIZE = 12
_BLACK, _GREY, _PALE = (0.0, 0.0, 0.0), (0.45, 0.45, 0.45), (0.85, 0.85, 0.85)
Encoder = Callable[["Iterator[Image]"], bytes]


def encoder(suffix: str) -> Encoder:
    """Return the encoder of a kind of video.

    Parameters
    ----------
    suffix : str
        ``.gif`` or ``.mp4``.

    Raises
    ------
    UnsupportedError
        If it is neither, or mp4 cannot be made here.
    """
    if suffix.lower() == ".gif":
        return _gif
    if suffix.lower() != ".mp4":
        raise UnsupportedError(
            f"A video is a .gif or an .mp4 file, not {suffix or 'one without an ending'}; choose such a name."
        )
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise UnsupportedError(
            "An .mp4 needs ffmpeg; run `pip install neurobench-grasp[video]`, or name a .gif file."
        ) from error
    return _mp4


@dataclass(frozen=True)
class _Panel:
    """One of the bodies side by side; ``error_mm`` is ``None`` for the recorded one."""

    caption: str
    colour: Colour
    joint_angles: Floats
    error_mm: Floats | None


def _panels(trajectory: Trajectory, names: Sequence[str]) -> list[_Panel]:
    panels = [_Panel("recorded", RECORDED, trajectory.recorded, None)]
    for name, colour, movement in zip(names, SIMULATED, trajectory.movements, strict=False):
        panels.append(_Panel(f"{name} (dots: recorded)", colour, movement.joint_angles, movement.error_mm))
    return panels


def frames(trajectory: Trajectory, title: str, names: Sequence[str], progress: Progress) -> Iterator[Image]:
    """Draw the frames.

    Parameters
    ----------
    trajectory : Trajectory
    title : str
        What was recorded.
    names : sequence of str
        Of the simulated body, and of the one that spikes drive if there is one.
    progress : callable

    Yields
    ------
    PIL.Image.Image
        One per step.
    """
    panels = _panels(trajectory, names)
    painter = trajectory.body.painter(*PANEL)
    try:
        for step in range(len(trajectory.time)):
            if step % FRAMES_PER_SECOND == 0:
                progress(f"drawing frame {step + 1} of {len(trajectory.time)}")
            bodies = [painter.paint(panel.joint_angles[step], panel.colour) for panel in panels]
            targets = painter.project(trajectory.targets[step])
            picture = _with_dots(np.concatenate(bodies, axis=1), targets)
            yield _captioned(picture, trajectory, step, title, panels)
    finally:
        painter.close()


def _with_dots(bodies: NDArray[np.uint8], points: Floats) -> Image:
    """Mark recorded keypoints on every simulated body, in front of it."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(bodies)
    draw = ImageDraw.Draw(picture)
    for left in range(PANEL[0], picture.width, PANEL[0]):
        for x, y in points + np.array([left, 0]):
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=_rgb(RECORDED), outline="white")
    return picture


def _captioned(
    bodies: Image, trajectory: Trajectory, step: int, title: str, panels: Sequence[_Panel]
) -> Image:
    """Add names above the bodies; below them time, errors and progress within the trial."""
    from PIL import Image, ImageDraw

    above, below = CAPTIONS
    width, height = bodies.size
    picture = Image.new("RGB", (width, above + height + below), "white")
    picture.paste(bodies, (0, above))
    draw = ImageDraw.Draw(picture)
    speed = FRAMES_PER_SECOND * trajectory.step_s
    _write(draw, (width / 2, 3), f"{title}   (shown at {speed:.3g} × its speed)", _BLACK, width)
    bottom = above + height
    phase = "scored window" if trajectory.scored[step] else "outside the scored window"
    for place, panel in enumerate(panels):
        middle = (place + 0.5) * PANEL[0]
        _write(draw, (middle, 21), panel.caption, panel.colour, PANEL[0])
        note = f"{trajectory.time[step]:+.2f} s, {phase}"
        if panel.error_mm is not None:
            note = f"keypoint error {panel.error_mm[step]:.1f} mm"
        _write(draw, (middle, bottom), note, _BLACK, PANEL[0])
    scale = width / len(trajectory.time)
    inside = np.flatnonzero(trajectory.scored)
    for first, stop, colour in (
        (0, len(trajectory.time), _PALE), (inside[0], inside[-1] + 1, _GREY), (step, step + 1, _BLACK)
    ):  # fmt: skip
        draw.rectangle((first * scale, bottom + 19, stop * scale, bottom + 23), fill=_rgb(colour))
    return picture


def _write(draw: ImageDraw, middle_top: tuple[float, float], text: str, colour: Colour, width: float) -> None:
    """Write a line, in a smaller font if it would be too wide."""
    size = min(_FONT_SIZE, _FONT_SIZE * width / _font(_FONT_SIZE).getlength(text))
    draw.text(middle_top, text, fill=_rgb(colour), font=_font(size), anchor="ma")


@cache
def _font(size: float) -> FreeTypeFont:
    """Load a font that covers most languages, unlike the default of Pillow."""
    from matplotlib import get_data_path
    from PIL.ImageFont import truetype

    return truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def _rgb(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in colour)
    return red, green, blue


def _gif(pictures: Iterator[Image]) -> bytes:
    """Encode with one palette for all frames, so that colours do not flicker."""
    from PIL.Image import Dither

    first = next(pictures)
    palette = _palette(first)
    plain = (p.quantize(palette=palette, dither=Dither.NONE) for p in chain([first], pictures))
    file = BytesIO()
    duration = 1000 // FRAMES_PER_SECOND
    next(plain).save(file, "GIF", save_all=True, append_images=plain, duration=duration, loop=0)
    return file.getvalue()


def _palette(picture: Image) -> Image:
    """Choose 128 colours, with almost white ones made white like the background."""
    palette = picture.quantize(128)
    colours = np.array(palette.getpalette()).reshape(-1, 3)
    colours[colours.min(1) > 240] = 255
    palette.putpalette(colours.ravel().tolist())
    return palette


def _mp4(pictures: Iterator[Image]) -> bytes:
    """Encode as H.264 through a file, since ffmpeg cannot write mp4 to a pipe."""
    from imageio_ffmpeg import write_frames

    first = next(pictures)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")
        writer = write_frames(path, first.size, fps=FRAMES_PER_SECOND, quality=8, ffmpeg_log_level="error")
        writer.send(None)
        for picture in chain([first], pictures):
            writer.send(picture.tobytes())
        writer.close()
        return path.read_bytes()
