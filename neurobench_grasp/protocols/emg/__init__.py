"""Recorded EMG against simulated muscle activation, and what both explain of neurons."""
