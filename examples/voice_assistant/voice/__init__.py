"""The application's own steps."""
