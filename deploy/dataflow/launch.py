"""What the launcher of the Flex Template runs: beam2vec train, with the template's parameters as its options."""

from jobs.cli.entry import run_process
from jobs.train import main

if __name__ == "__main__":
    run_process("beam2vec train", main)
