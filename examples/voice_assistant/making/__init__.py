"""Makes what the repository does not hold: the voices and the model."""
