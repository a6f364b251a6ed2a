"""The two exceptions that leave the library on purpose."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend: one line that says what is wrong, where, and what to do."""


class Cancelled(Exception):
    """The work was stopped on request; nothing was written."""
