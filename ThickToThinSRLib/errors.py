"""The exceptions that a caller of the library should expect."""

from __future__ import annotations

from collections.abc import Callable


class UserError(Exception):
    """A problem that the user can solve: one line that says what is wrong, where, and what to do.

    Parameters
    ----------
    text : str
        The line. Options are named in braces, ``{thickness}``: the command line and the Slicer panel replace
        them by the names that their users know.
    *options : str
        Names of the options in `text`, see :mod:`~ThickToThinSRLib.settings`.

    Examples
    --------
    >>> error = UserError("the slice thickness is unknown: give {thickness} in mm", "thickness")
    >>> str(error)
    'the slice thickness is unknown: give thickness in mm'
    >>> error.worded(lambda option: f"--{option}")
    'the slice thickness is unknown: give --thickness in mm'
    """

    kind = ""  # what a program that reads the error may tell apart

    def __init__(self, text: str, *options: str):
        super().__init__(text, *options)
        self.text, self.options = text, options

    def worded(self, name_of: Callable[[str], str]) -> str:
        """The line, with each option replaced by ``name_of(option)``."""
        text = self.text
        for option in self.options:
            text = text.replace("{" + option + "}", name_of(option))
        return text

    def about(self, subject: str) -> UserError:
        """The same error, with `subject` (such as a file name) put before its text."""
        return type(self)(f"{subject}: {self.text}", *self.options)

    def __str__(self) -> str:
        return self.worded(lambda option: option)


class AlreadyThin(UserError):
    """There is nothing to do: the slices are as thin as the result would be."""

    kind = "already thin"


class Cancelled(Exception):
    """The work was stopped on request; of what was unfinished, nothing was written."""
