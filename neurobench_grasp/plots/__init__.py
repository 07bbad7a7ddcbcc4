"""Figures, trial figures and videos, all by matplotlib and Pillow; records in, pictures out."""
