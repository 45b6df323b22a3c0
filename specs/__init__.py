"""The words of tierplan as models: what users write (YAML) and what the stages hand on (files)."""
