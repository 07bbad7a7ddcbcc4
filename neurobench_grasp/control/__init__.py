"""Policies and their training over the body; the only code that may know torch and stable-baselines3."""
