"""The protocols ``brain-control`` and ``brain-control-curves``."""
