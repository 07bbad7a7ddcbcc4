"""Sessions from files of other formats."""
