"""A small limb as OpenSim files of two versions, and edited copies of them."""

from pathlib import Path

HERE = Path(__file__).parent / "bodies"
SMALL, SMALL_4 = HERE / "small.osim", HERE / "small_4.osim"


def edited(tmp_path, *changes, source=SMALL):
    """Write a copy of the file in which texts are replaced."""
    text = source.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = tmp_path / "edited.osim"
    path.write_text(text)
    return path
