"""Where things are: the flows, one flow's pipeline, the layout that a placement makes of it, the network."""
