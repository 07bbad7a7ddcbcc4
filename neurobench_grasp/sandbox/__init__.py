"""Limits and wire format of processes that run untrusted code."""
