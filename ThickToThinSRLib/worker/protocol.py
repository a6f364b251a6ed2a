"""The protocol between a worker process and the program that starts it.

The worker writes progress, results and errors to standard output, one JSON object per line::

    {"version": 1, "event": "progress", "stage": "network", "done": 3, "total": 31, "seconds_left": 84.2}
    {"version": 1, "event": "result", "output": "thin.nrrd", ...}
    {"version": 1, "event": "error", "message": "..."}
    {"version": 1, "event": "error", "message": "...", "text": "give {thickness}", "options": ["thickness"]}
    {"version": 1, "event": "error", "message": "...", "kind": "already thin"}
    {"version": 1, "event": "case", "name": "a.nii.gz", "state": "done", ...}      (of many inputs)

The worker stops when the cancel file appears, on a signal to stop, or when the parent process is gone.
"""

from __future__ import annotations

PROTOCOL_VERSION = 1
EXIT_DONE, EXIT_UNEXPECTED, EXIT_BAD_INPUT, EXIT_CANCELLED = 0, 1, 2, 3
# States of an input in `enhance-many`.
WAITING, RUNNING, THERE, DONE, FAILED = "waiting", "running", "already there", "done", "failed"
SKIPPED = "skipped"
