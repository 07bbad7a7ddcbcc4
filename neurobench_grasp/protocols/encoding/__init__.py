"""The protocol ``encoding``, step by step."""
