"""Where a model can be cut: its operators, how long each takes, and the closed sets whose tensors are few."""
