"""The reference pipeline: the application in one process, on its own data, without queues or networks."""
