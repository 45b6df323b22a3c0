"""What a stage does: models and Python functions, opened and called."""
