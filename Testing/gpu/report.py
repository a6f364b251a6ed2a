"""What the steps found: printed and written as they go, so that an end at any moment leaves it all."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Its name, and what it does.
Step = tuple[str, Callable[[], None]]


class TimeUp(Exception):
    """The minutes are over."""


class Report:
    """Rows of section, name, value and verdict.

    Parameters
    ----------
    folder : Path
        Is made if need be; gets ``report.json`` and ``log.txt``.
    seconds : float
        Until :meth:`check` raises.
    facts : dict
        Of the machine.
    """

    def __init__(self, folder: Path, seconds: float, facts: dict[str, Any]):
        self.folder, self.facts = folder, facts
        self.started = time.monotonic()
        self.end = self.started + seconds
        self.rows: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log.txt").write_text("", encoding="utf-8")
        self.say(str(facts))
        self._write()

    def say(self, line: str) -> None:
        """Print a line, and keep it in the log."""
        print(line, flush=True)
        with open(self.folder / "log.txt", "a", encoding="utf-8") as file:
            file.write(f"{time.monotonic() - self.started:7.1f} s  {line}\n")

    def add(self, section: str, name: str, value: Any, passed: bool | None = None) -> None:
        """Add a row; `passed` is None where there is nothing to pass."""
        self.rows.append({"section": section, "name": name, "value": value, "passed": passed})
        self._write()
        self.say(_line(self.rows[-1]))

    def left(self) -> float:
        """Seconds that remain."""
        return self.end - time.monotonic()

    def check(self) -> None:
        """Raise `TimeUp` if nothing remains."""
        if self.left() <= 0:
            raise TimeUp

    def attempt(self, section: str, name: str, work: Callable[[], None]) -> None:
        """Do a step; whatever goes wrong in it becomes a row, and the next step goes on."""
        self.check()
        try:
            work()
        except TimeUp:
            self.add(section, name, "the time was up", False)
            raise
        except Exception as error:  # of whatever type: the card's time must not be lost
            self.add(section, name, f"{type(error).__name__}: {str(error).splitlines()[:1]}", False)

    def table(self) -> str:
        """All rows, a line each."""
        return "\n".join(_line(row) for row in self.rows)

    @property
    def failures(self) -> int:
        return sum(row["passed"] is False for row in self.rows)

    def _write(self) -> None:
        content = {
            "machine": self.facts,
            "seconds": round(time.monotonic() - self.started, 1),
            "rows": self.rows,
        }
        path = self.folder / "report.json"
        path.with_suffix(".part").write_text(json.dumps(content, indent=1), encoding="utf-8")
        path.with_suffix(".part").replace(path)


def _line(row: dict[str, Any]) -> str:
    verdict = {None: "      ", True: "passed", False: "FAILED"}[row["passed"]]
    return f"{row['section']:6} {verdict} {row['name']:58} {row['value']}"
