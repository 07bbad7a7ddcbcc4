"""Read, check and write NWB files. The only code that knows pynwb and h5py."""
