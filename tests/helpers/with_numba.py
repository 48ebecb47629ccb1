"""A program that has imported Numba and nothing of ours; it runs each script that it is given in a child."""

from __future__ import annotations

import json
import os
import sys

import numba
import numpy  # noqa: F401
import tqdm  # noqa: F401


def main() -> None:
    """A line is JSON, [folder with the package, cache, script]; so is the answer, [status, stdout, stderr]."""
    for line in sys.stdin:
        folder, cache, script = json.loads(line)
        pipes = [os.pipe(), os.pipe()]
        if not (child := os.fork()):
            for number, (_, end) in enumerate(pipes, 1):
                os.dup2(end, number)
            os.environ["NUMBA_CACHE_DIR"] = cache
            numba.config.reload_config()
            os.chdir(folder)
            sys.path.insert(0, folder)
            exec(script, {"__name__": "__main__"})
            sys.stdout.flush()
            os._exit(0)
        for _, end in pipes:
            os.close(end)
        said = [open(end).read() for end, _ in pipes]  # noqa: SIM115
        print(json.dumps([os.waitpid(child, 0)[1], *said]), flush=True)


if __name__ == "__main__":
    main()
