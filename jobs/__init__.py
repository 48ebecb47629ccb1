"""The commands: each parses options, runs a job or reads a run, and prints what came of it."""
