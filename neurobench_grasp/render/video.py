"""The video: recorded and simulated hand side by side, one frame per step, with captions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.body.render import Colour, HandPainter
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.render.course import RECORDED, SIMULATED, Course
from neurobench_grasp.types import Floats, Progress

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

FRAMES_PER_SECOND = 25
PANEL = (368, 400)  # pixels
CAPTIONS = (40, 24)  # above and below; the whole is a multiple of 16 either way, as mp4 likes it
_BLACK, _GREY, _PALE = (0.0, 0.0, 0.0), (0.45, 0.45, 0.45), (0.85, 0.85, 0.85)
Encoder = Callable[["Iterator[Image]"], bytes]


def encoder(suffix: str) -> Encoder:
    """Give the function that turns frames into a video of that kind.

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
            "An .mp4 needs the package imageio-ffmpeg with its ffmpeg; install it, or name a .gif file."
        ) from error
    return _mp4


def frames(course: Course, title: str, model: str, progress: Progress) -> Iterator[Image]:
    """Draw the frames.

    Parameters
    ----------
    course : Course
    title, model : str
        What was recorded, and whose hand imitates it.
    progress : callable

    Yields
    ------
    PIL.Image.Image
        One per step.
    """
    painter = HandPainter(*PANEL)
    try:
        for step in range(len(course.time)):
            if step % FRAMES_PER_SECOND == 0:
                progress(f"drawing frame {step + 1} of {len(course.time)}")
            left = painter.paint(course.recorded[step], RECORDED)
            right = painter.paint(course.simulated[step], SIMULATED)
            targets = painter.project(course.targets[step]) + np.array([PANEL[0], 0])
            picture = _with_dots(np.concatenate([left, right], axis=1), targets)
            yield _captioned(picture, course, step, title, model)
    finally:
        painter.close()


def _with_dots(hands: NDArray[np.uint8], points: Floats) -> Image:
    """Mark recorded keypoints on the simulated hand, in front of it."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(hands)
    draw = ImageDraw.Draw(picture)
    for x, y in points:
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=_rgb(RECORDED), outline="white")
    return picture


def _captioned(hands: Image, course: Course, step: int, title: str, model: str) -> Image:
    """Add names above the hands; below them time, error and how much of the trial has passed."""
    from PIL import Image, ImageDraw

    above, below = CAPTIONS
    width, height = hands.size
    picture = Image.new("RGB", (width, above + height + below), "white")
    picture.paste(hands, (0, above))
    draw = ImageDraw.Draw(picture)
    speed = FRAMES_PER_SECOND * course.step_s
    _write(draw, (width / 2, 3), f"{title}   (shown at {speed:.3g} × its speed)", _BLACK)
    _write(draw, (width / 4, 21), "recorded", RECORDED)
    _write(draw, (3 * width / 4, 21), f"simulated: {model} (dots: recorded)", SIMULATED)
    bottom = above + height
    phase = "scored window" if course.scored[step] else "outside the scored window"
    _write(draw, (width / 4, bottom), f"{course.time[step]:+.2f} s, {phase}", _BLACK)
    _write(draw, (3 * width / 4, bottom), f"keypoint error {course.error_mm[step]:.1f} mm", _BLACK)
    scale = width / len(course.time)
    inside = np.flatnonzero(course.scored)
    for first, stop, colour in (
        (0, len(course.time), _PALE), (inside[0], inside[-1] + 1, _GREY), (step, step + 1, _BLACK)
    ):  # fmt: skip
        draw.rectangle((first * scale, bottom + 19, stop * scale, bottom + 23), fill=_rgb(colour))
    return picture


def _write(draw: ImageDraw, middle_top: tuple[float, float], text: str, colour: Colour) -> None:
    draw.text(middle_top, text, fill=_rgb(colour), font=_font(), anchor="ma")


@cache
def _font() -> FreeTypeFont:
    """Give a font that has the letters of most languages, unlike Pillow's own."""
    from matplotlib import get_data_path
    from PIL.ImageFont import truetype

    return truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), 12)


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
    """Choose 128 colours, those that are almost white made white, like the paper around."""
    palette = picture.quantize(128)
    colours = np.array(palette.getpalette()).reshape(-1, 3)
    colours[colours.min(1) > 240] = 255
    palette.putpalette(colours.ravel().tolist())
    return palette


def _mp4(pictures: Iterator[Image]) -> bytes:
    """Encode as H.264, by way of a file, since ffmpeg cannot write mp4 into a pipe."""
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
