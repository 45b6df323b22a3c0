"""Answers about a plan: why so, why not, how much it would take, and how far it holds. All by solving again."""
