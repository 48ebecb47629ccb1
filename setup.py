"""For `--setup_file=./setup.py`, by which Beam sends this package to remote workers; see pyproject.toml."""

from setuptools import setup

setup()
