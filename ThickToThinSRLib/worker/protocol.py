"""What a worker process and the program that started it say to each other.

Progress, results and errors leave as one JSON object a line on standard output::

    {"version": 1, "event": "progress", "stage": "network", "done": 3, "total": 31, "seconds_left": 84.2}
    {"version": 1, "event": "result", "output": "thin.nrrd", ...}
    {"version": 1, "event": "error", "message": "..."}
    {"version": 1, "event": "error", "message": "...", "text": "give {thickness}", "options": ["thickness"]}
    {"version": 1, "event": "error", "message": "...", "kind": "already thin"}
    {"version": 1, "event": "case", "name": "a.nii.gz", "state": "done", ...}      (of many inputs)

Cancel comes in as a file that appears, as a signal to end, or as the death of the parent process.
"""

from __future__ import annotations

PROTOCOL_VERSION = 1
EXIT_DONE, EXIT_UNEXPECTED, EXIT_BAD_INPUT, EXIT_CANCELLED = 0, 1, 2, 3
# States of an input of `enhance-many`.
WAITING, RUNNING, THERE, DONE, FAILED = "waiting", "running", "already there", "done", "failed"
SKIPPED = "skipped"
