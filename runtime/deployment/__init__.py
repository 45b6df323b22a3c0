"""A deployment: a bundle that runs until it is undeployed, whoever started it.

Its hosts are detached actors with names, found again from any process; its cluster is one that is there, or nodes on
this machine under a keeper process. A folder of state holds what was asked for, so that a deployment that was broken
off can be taken up again.
"""
