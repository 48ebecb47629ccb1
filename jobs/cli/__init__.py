"""The command line: options in, lines out. What is done with them is in the commands and in `jobs.training_job`."""
