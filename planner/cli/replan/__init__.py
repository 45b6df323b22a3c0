"""`planner replan`: solve again for what runs observed, without touching what the old plan rests on."""
