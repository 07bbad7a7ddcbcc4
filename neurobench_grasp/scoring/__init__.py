"""Pure functions from (activations, rates) to scores."""
