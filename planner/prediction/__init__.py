"""What a placement will measure: waits, percentiles of paths, and how much it carries."""
