"""`planner export`: a bundle as containers, for those who run them."""
