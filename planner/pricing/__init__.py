"""What devices and messages cost, in money and in electricity."""
