"""Where tests find the real CT volumes and the authors' arrays that are not part of the repository.

They lie in a folder named ``shared`` beside the checkout, or wherever the environment variable
``THICKTOTHIN_SHARED`` points. A test that needs a missing file is skipped, with the reason.
"""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("THICKTOTHIN_SHARED", CHECKOUT.parent / "shared"))


def shared(name: str) -> Path:
    """Path of a file or folder under the shared folder; skips the calling test where it is absent."""
    path = SHARED / name
    if not path.exists():
        import pytest  # Where these paths alone are needed it may be missing.

        pytest.skip(f"{name} is not in the shared folder {SHARED} (set THICKTOTHIN_SHARED)")
    return path
