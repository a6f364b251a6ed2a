"""Check, measure and train on a machine with an NVIDIA card: ``python -m Testing.gpu --output OUT``.

Needs PyTorch, NumPy, SciPy and safetensors, nothing from the network. Three parts, *right*, *fast* and
*learn*, fill the minutes; each result is in OUT as soon as it is known (report.json, log.txt, table.txt and,
of *learn*, weights). ``--dry-run`` does every step in small, on a CPU too. Ends with 1 if a check failed.
"""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

import torch

from . import fast, right
from .learn import RECIPE_OF, learn
from .report import Report, TimeUp

# Of learning, where every step is done in small.
_DRY_SECONDS = 9.0


def main() -> int:
    options = _parsed()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not options.dry_run:
        print("gpu: PyTorch finds no NVIDIA card here; --dry-run does every step in small on the CPU")
        return 2
    report = Report(options.output, 60 * options.minutes, _machine(device))
    try:
        if device.type == "cuda":
            _note_free_memory(report)
        for section, part in (("right", right), ("fast", fast)):
            if section in options.parts:
                for name, work in part.steps(report, device, options.dry_run):
                    report.attempt(section, name, work)
        if "learn" in options.parts and options.data is not None:
            seconds = _DRY_SECONDS if options.dry_run else report.left()
            learn(report, device, options.data, options.shares, options.weights, seconds)
    except TimeUp:
        report.say("the time is up")
    except KeyboardInterrupt:
        report.say("stopped")
    table = report.table()
    (options.output / "table.txt").write_text(table + "\n", encoding="utf-8")
    print(f"\n{table}\n\n{report.failures} of {len(report.rows)} rows failed; all is in {options.output}")
    return 1 if report.failures else 0


def _note_free_memory(report: Report) -> None:
    free, total = torch.cuda.mem_get_info()
    report.add("right", "free memory of the card", f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB")


def _machine(device: torch.device) -> dict[str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"device": name, "torch": torch.__version__, "cuda": str(torch.version.cuda)}


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="Testing.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, metavar="OUT", help="folder of the results")
    parser.add_argument("--minutes", type=float, default=8.0, help="ends by itself (default: %(default)g)")
    parser.add_argument("--dry-run", action="store_true", help="every step in small, on the CPU if need be")
    parser.add_argument(
        "--parts", nargs="+", choices=("right", "fast", "learn"), default=["right", "fast", "learn"]
    )
    parser.add_argument("--data", type=Path, metavar="FILE", help="what training.pack wrote, for learn")
    parser.add_argument(
        "--shares", type=_share, nargs="+", metavar="NETWORK=SHARE",
        help=f"of the time of learn (default: the same for {', '.join(RECIPE_OF)})",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=_weights, nargs="+", default=[], metavar="NETWORK=FILE",
        help="weights to go on from (default: those that come with the program)",
    )  # fmt: skip
    options = parser.parse_args()
    options.shares = dict(options.shares or [(name, 1.0) for name in RECIPE_OF])
    options.weights = dict(options.weights)
    return options


def _named(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if name not in RECIPE_OF or not value:
        raise argparse.ArgumentTypeError(f"{text!r}: one of {', '.join(RECIPE_OF)}, = and a value")
    return name, value


def _share(text: str) -> tuple[str, float]:
    name, value = _named(text)
    return name, float(value)


def _weights(text: str) -> tuple[str, Path]:
    name, value = _named(text)
    return name, Path(value)


if __name__ == "__main__":
    sys.exit(main())
