"""One checkpoint on the test cases: ``python -m training.test --data DIR --checkpoint FILE``."""

from __future__ import annotations

import sys

from .single import main

if __name__ == "__main__":
    sys.exit(main("test"))
