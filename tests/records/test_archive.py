"""Arrays of .npz files as numpy reads them, and damaged files as errors."""

import io
import zipfile

import numpy as np
import pytest

from neurobench_grasp.records.archive import Archive

ARRAYS = {
    "values_0": np.linspace(-1, 1, 7),
    "left_out_0": np.arange(12, dtype=np.float32).reshape(3, 4),
    "turned": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "big": np.zeros(100_000),
    "units_0": np.array(["a", "unit ü", ""]),
    "none": np.zeros((0, 5)),
    "labels": np.array([["M1", "ood"], ["S1", "test"]]),
}


def packed(save=np.savez_compressed, **arrays):
    raw = io.BytesIO()
    save(raw, **arrays)
    return raw.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_those_that_numpy_reads(save):
    raw = packed(save, **ARRAYS)
    found = Archive(raw)
    with np.load(io.BytesIO(raw)) as known:
        assert list(found) == known.files and len(found) == len(ARRAYS)
        for name in known.files:
            np.testing.assert_array_equal(found[name], known[name], strict=True)
    assert found.names("units_0") == ("a", "unit ü", "")
    with pytest.raises(KeyError):
        found["absent"]


def test_wherever_a_file_is_cut_or_changed_it_is_told_or_does_no_harm():
    raw = packed(a=np.arange(40.0), b=np.array(["x"]))
    truth = {name: array.tobytes() for name, array in Archive(raw).items()}
    noticed = 0
    for k in range(0, len(raw), 3):
        for broken in (raw[:k], raw[:k] + bytes([raw[k] ^ 0x55]) + raw[k + 1 :]):
            try:
                read = {name: array.tobytes() for name, array in Archive(broken).items()}
            except (ValueError, KeyError, UnicodeDecodeError):
                noticed += 1
            else:
                assert set(read.values()) <= set(truth.values())
    assert noticed > len(raw) / 3


def test_objects_other_packings_and_bombs_are_refused():
    with pytest.raises(ValueError, match="objects"):
        Archive(packed(a=np.array([{}], dtype=object)))["a"]
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.npy", b"x")
    with pytest.raises(ValueError, match="packed in a way"):
        Archive(raw.getvalue())["a"]
    bomb = packed(a=np.zeros(1_000_000))
    place = bomb.rfind(b"PK\x01\x02") + 24  # the size it claims: where the directory has it
    small = bomb[:place] + (64).to_bytes(4, "little") + bomb[place + 4 :]
    with pytest.raises(ValueError, match="damaged"):
        Archive(small)["a"]
    with pytest.raises(ValueError, match="not an archive"):
        Archive(b"")


@pytest.mark.parametrize("junk", [b"x", b"PK\x05\x06", b"\0" * 100_000])
def test_what_follows_the_end_of_an_archive_is_refused(junk):
    with pytest.raises(ValueError, match=r"^not an archive, or something follows its end$"):
        Archive(packed(**ARRAYS) + junk)


def test_the_number_and_the_size_of_arrays_are_bounded_before_any_is_read(monkeypatch):
    raw = packed(**ARRAYS)
    monkeypatch.setattr("neurobench_grasp.records.archive.MOST_UNPACKED", 1 << 19)
    with pytest.raises(ValueError, match=r"^it unpacks to more than 0 MB$"):
        Archive(raw)
    monkeypatch.setattr("neurobench_grasp.records.archive.MOST_ARRAYS", 3)
    with pytest.raises(ValueError, match=r"^it has more than 3 arrays$"):
        Archive(raw)
