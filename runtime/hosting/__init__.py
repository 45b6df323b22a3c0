"""A host, which is one process at one member of a site: where requests enter, its queues, joins and links."""
