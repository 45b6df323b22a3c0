"""That an answer is the best by prediction, or that there is none."""
