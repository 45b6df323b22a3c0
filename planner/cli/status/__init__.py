"""`planner status`: what a deployment does now, once or again and again."""
