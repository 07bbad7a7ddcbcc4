"""Evaluate, train, verify and submit models: jobs in, records out."""
