"""What the launcher of the Flex Template runs: jobs.train, with the template's parameters as its options."""

import sys

from jobs.cli.entry import run_command
from jobs.train import main

if __name__ == "__main__":
    sys.exit(run_command("jobs.train", main))
