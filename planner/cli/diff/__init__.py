"""`planner diff`: two plans, or two bundles, beside each other."""
