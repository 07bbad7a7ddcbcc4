"""NWB and DANDI sessions in, one Session out. The only code that knows pynwb and h5py."""
