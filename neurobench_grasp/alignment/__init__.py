"""From recorded sessions to trials and rates on one step grid, and their splits."""
