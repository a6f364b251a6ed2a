"""The exceptions that leave the library on purpose."""

from __future__ import annotations

from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend: one line that says what is wrong, where, and what to do.

    Parameters
    ----------
    text : str
        The line. Where it names an option it holds the option's name in braces, ``{thickness}``, so that each
        face of the program can name it in its own words.
    *options : str
        Names of the options that `text` holds, see :mod:`~ThickToThinSRLib.settings`.

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
        """The line with each option named by `name_of`."""
        text = self.text
        for option in self.options:
            text = text.replace("{" + option + "}", name_of(option))
        return text

    def about(self, subject: str) -> UserError:
        """The same error, preceded by what it is about."""
        return type(self)(f"{subject}: {self.text}", *self.options)

    def __str__(self) -> str:
        return self.worded(lambda option: option)


class AlreadyThin(UserError):
    """There is nothing to do: the slices are as thin as the result would be."""

    kind = "already thin"


class Cancelled(Exception):
    """The work was stopped on request; of what was unfinished, nothing was written."""
