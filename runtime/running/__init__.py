"""Runs of a plan, and what was measured beside what was predicted."""
