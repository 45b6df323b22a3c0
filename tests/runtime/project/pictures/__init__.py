"""Functions of the sample application that the runtime's tests run."""
