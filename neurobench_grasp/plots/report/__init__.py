"""A report of what has been scored: panels after the figures of Marin Vargas et al. (2025), and a page."""
