"""The report: one self-contained page on a plan and, where there is one, a run of it."""
