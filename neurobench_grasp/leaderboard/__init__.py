"""Records, provenance, tables."""
