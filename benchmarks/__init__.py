"""Measurements beside the peers one can install: one command each, a table on the screen and a JSON file."""
