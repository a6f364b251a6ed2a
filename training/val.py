"""One checkpoint on the val cases: ``python -m training.val --data DIR --checkpoint FILE``."""

from __future__ import annotations

import sys

from .single import main

if __name__ == "__main__":
    sys.exit(main("val"))
