"""Measuring on other devices, which a tracker of TVM's RPC lends."""
