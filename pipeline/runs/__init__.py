"""The folder that fills up: its identity, the keys of its stages, what another run has made, verification."""
