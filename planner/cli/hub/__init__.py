"""`planner hub`: what is known of every model, the catalogue, and care of the store."""
