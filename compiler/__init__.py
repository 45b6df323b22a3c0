"""A model becomes an artefact: read its signature, cut it, build it, check its numbers, measure it.

Importing this package is light; each module imports its heavy library where it is used.
"""
