"""What the command line calls an option that an error names."""

from __future__ import annotations

from ..errors import UserError
from ..settings import flag


def name_of(option: str) -> str:
    """An option's name on the command line."""
    return "`models --add`" if option == "add_weights" else flag(option)


def worded(error: UserError) -> str:
    """The line of an error, in the words of the command line."""
    return " ".join(error.worded(name_of).splitlines())
