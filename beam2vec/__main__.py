"""`python -m beam2vec` is the command `beam2vec`."""

import sys

from jobs.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
