"""Ray: nodes, labels and actors. Nothing outside this folder knows it."""
