"""Measures of populations beside those of single units."""
