"""A process and its screen: memory, progress, interruption, what is shown of others' text."""
