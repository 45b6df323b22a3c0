"""Predicted and measured: plans of three applications, run on the emulated network."""
