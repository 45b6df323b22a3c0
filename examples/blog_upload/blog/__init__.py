"""The application's own functions: what runs before the models."""
