"""Small files that would take for ever, or all memory, to read, and how they are refused.

Each function changes a small valid NWB file.
"""

import zlib

import h5py
import numpy as np

COLUMN = "intervals/trials/object_name"
MIB = 1 << 20


def heap_inside_a_dataset(path):
    """A session id whose text lies in a heap, hidden in plain data, with an object that leads to itself."""
    heap = bytearray(4 * MIB)
    heap[2 * MIB : 2 * MIB + 16] = b"GCOL\x01\0\0\0" + (4096).to_bytes(8, "little")
    with h5py.File(path, "r+") as file:
        hidden = file.create_dataset("acquisition/plain", data=np.frombuffer(heap, np.uint8))
        place = hidden.id.get_offset() + 2 * MIB
        pointers = _text(file, "general/session_id", "one")
    _write(path, pointers + 4, place.to_bytes(8, "little"))


def soft_links(path):
    """60,000 columns of the trials table, all of them links to one."""
    with h5py.File(path, "r+") as file:
        trials = file["intervals/trials"]
        for i in range(60_000):
            trials[f"column_{i:05}"] = h5py.SoftLink("/intervals/trials/start_time")


def hard_links(path):
    """The same with 11,000 hard links, each of which would be read as a column of times."""
    with h5py.File(path, "r+") as file:
        trials = file["intervals/trials"]
        for i in range(11_000):
            trials[f"column_{i:05}_time"] = trials["start_time"]


def one_text_ten_thousand_times(path):
    """10,000 conditions, all of them the same text of 4 MiB."""
    with h5py.File(path, "r+") as file:
        place = _text(file, COLUMN, np.array(["x" * 4 * MIB, *[""] * 9_999], object))
    pointer = path.read_bytes()[place : place + 16]
    _write(path, place, 10_000 * pointer)


def gzip_of_ratio_302(path):
    """Spike times of one byte each: 28 MB that become 8 GB, and as float64 more than 60."""
    chunk = np.zeros(32 * MIB, np.int8)
    chunk[: 77 << 10] = np.random.default_rng(0).integers(-128, 127, 77 << 10)
    raw = zlib.compress(chunk.tobytes(), 9)
    assert 250 < chunk.size / len(raw) < 350
    with h5py.File(path, "r+") as file:
        del file["units/spike_times"]
        spikes = file.create_dataset(
            "units/spike_times", (256 * chunk.size,), "i1", chunks=chunk.shape, compression="gzip"
        )
        for i in range(256):
            spikes.id.write_direct_chunk((i * chunk.size,), raw)


def fill_values(path):
    """Spike times of one byte each, 1.4 MB stored; all others, 550 MB, are the fill value."""
    with h5py.File(path, "r+") as file:
        del file["units/spike_times"]
        spikes = file.create_dataset("units/spike_times", (550_000_000,), "i1", chunks=(MIB,), fillvalue=1)
        spikes[: int(1.4 * MIB)] = 2


FLOODS = {
    heap_inside_a_dataset: r"its text heap at byte \d+ is broken",
    soft_links: "is one of more than 10000 links to other objects",
    hard_links: "is one of more than 10000 links to other objects",
    one_text_ten_thousand_times: "reading it needs more memory than its content explains",
    gzip_of_ratio_302: r"'units/spike_times' takes 68719476736 bytes in memory but stores only \d+",
    fill_values: r"'units/spike_times' takes 4400000000 bytes in memory but stores only \d+",
}


def _text(file, name, value):
    """Replace a dataset by contiguous text; return the place of its pointers in the file."""
    attributes = dict(file[name].attrs)
    del file[name]
    made = file.create_dataset(name, data=value, dtype=h5py.string_dtype())
    made.attrs.update(attributes)
    file.flush()
    return made.id.get_offset()


def _write(path, place, raw):
    with path.open("r+b") as file:
        file.seek(place)
        file.write(raw)
