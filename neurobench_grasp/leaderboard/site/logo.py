"""Logo of a site: a small PNG, which unlike SVG cannot hold scripts."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from neurobench_grasp.errors import NgbError
from neurobench_grasp.formats import read_plain

LARGEST, MOST_PIXELS = 256 << 10, 1024
"""Bytes of a logo, and pixels of a side."""


def read_logo(path: Path) -> bytes:
    """Read a logo, and check that it is an image.

    Parameters
    ----------
    path : path

    Returns
    -------
    bytes
        A PNG drawn again from its pixels, without whatever else the file holds.

    Raises
    ------
    NgbError
        If it cannot be read, is no PNG, or is too large.
    """
    from PIL import Image

    raw = read_plain(path, LARGEST, advice="name another file with --logo")
    out = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of a decompression bomb
            with Image.open(io.BytesIO(raw), formats=["PNG"]) as image:
                if max(image.size) > MOST_PIXELS:
                    raise NgbError(
                        f"The logo {path.name} has {image.width} × {image.height} pixels; make it at most "
                        f"{MOST_PIXELS} on a side."
                    )
                image.convert("RGBA").save(out, "PNG")
    except (OSError, SyntaxError, ValueError, Warning, Image.DecompressionBombError) as error:
        raise NgbError(f"The logo {path.name} is not a PNG image; convert it to PNG.") from error
    return out.getvalue()
