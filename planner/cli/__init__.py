"""The command `planner`: one file a verb, each importing what it needs when it runs."""
