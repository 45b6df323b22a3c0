"""The application's own functions: what runs before and after the models."""
