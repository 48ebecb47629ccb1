"""A process and its screen: memory, progress, interruption, and how text from elsewhere is shown."""
