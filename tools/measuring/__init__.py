"""What measurements share: texts, clocks, processes, and reports on the screen and in a file."""
