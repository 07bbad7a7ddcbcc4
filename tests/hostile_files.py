"""What makes a valid NWB file one that reaches outside itself or asks for too much, and how it is refused.

Each function takes an open file and a folder with a file ``secret.h5``, whose dataset ``x`` it may be after.
"""

import h5py
import numpy as np


def write_secret(folder):
    with h5py.File(folder / "secret.h5", "w") as secret:
        secret["x"] = np.arange(10.0)


def external_storage(file, folder):
    file.create_dataset("acquisition/x", (100,), "u1", external=[("/etc/passwd", 0, 100)])


def external_link(file, folder):
    file["acquisition/x"] = h5py.ExternalLink(str(folder / "secret.h5"), "/x")


def external_link_in_the_middle(file, folder):
    file["processing/elsewhere"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")
    file["acquisition/x"] = h5py.SoftLink("/processing/elsewhere/x")


def virtual_dataset(file, folder):
    layout = h5py.VirtualLayout((10,), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "x", (10,))
    file.create_virtual_dataset("acquisition/x", layout)


def virtual_spike_times(file, folder):
    n = file["units/spike_times"].shape
    del file["units/spike_times"]
    layout = h5py.VirtualLayout(n, "f8")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "x", n)
    file.create_virtual_dataset("units/spike_times", layout)


def link_cycle(file, folder):
    file["processing/behavior/again"] = file["processing"]


def second_link_to_a_group(file, folder):
    file["acquisition/x"] = file["units"]


def dangling_soft_link(file, folder):
    file["acquisition/x"] = h5py.SoftLink("/nowhere")


def soft_link_cycle(file, folder):
    file["acquisition/x"] = h5py.SoftLink("/acquisition/y")
    file["acquisition/y"] = h5py.SoftLink("/acquisition/x")


def three_hundred_gigabytes(file, folder):
    file.create_dataset("acquisition/x", (300 << 27,), "f8", chunks=(1 << 20,))


def huge_chunk(file, folder):
    file.create_dataset("acquisition/x", (10 << 20,), "f8", chunks=(10 << 20,))


def empty_gigabyte(file, folder):
    file.create_dataset("acquisition/x", (1 << 27,), "f8", chunks=(1 << 17,))


def missing_filter(file, folder):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((10,))
    plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((10,))
    h5py.h5d.create(file.id, b"acquisition/x", h5py.h5t.NATIVE_DOUBLE, space, plist)


def deep_nesting(file, folder):
    file.create_group("acquisition/" + "/".join("d" * 40))


HOSTILE = {
    external_storage: r"'acquisition/x' keeps its data outside the file \(in /etc/passwd\)",
    external_link: r"'acquisition/x' is an external link to another file \(.*secret.h5\)",
    external_link_in_the_middle: "'processing/elsewhere' is an external link",
    virtual_dataset: "'acquisition/x' is a virtual dataset",
    virtual_spike_times: "'units/spike_times' is a virtual dataset",
    link_cycle: r"is a group that occurs twice \(a link cycle\)",
    second_link_to_a_group: "is a group that occurs twice",
    dangling_soft_link: "'acquisition/x' is a link to '/nowhere', which is not in the file",
    soft_link_cycle: "which is not in the file",
    three_hundred_gigabytes: "'acquisition/x' brings the total to 300 GiB",
    huge_chunk: "'acquisition/x' has chunks of more than 64 MiB",
    empty_gigabyte: "'acquisition/x' declares 1073741824 bytes but stores only 0",
    missing_filter: "is compressed by zstd .HDF5 filter 32015.",
    deep_nesting: "is nested more than 32 groups deep",
}
