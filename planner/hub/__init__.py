"""Every way that models are known to run, what each costs, and on which share of a fleet it is fast enough."""
