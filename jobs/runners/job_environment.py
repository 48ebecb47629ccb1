"""`environment` for commands that run a job: they end at once where memory is too small to load what they need."""

from jobs.runners import environment

environment.refuse_without_room()
