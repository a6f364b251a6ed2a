"""Whether every system trains: each learns one crop by heart, and gets better on a case that it never sees.

``python -m Testing.benchmarks.training_curves DATA OUT [--recipes NAME ...]`` trains every recipe twice,
with unaltered architectures on crops of 16 x 16 pixels, and draws ``curves.png``: PSNR on the fixed crop
beside that of cubic interpolation on it, and the error on the held-out case. A finished run is not done
again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from training.recipes import NAMES, find_recipe
from training.train import main as train

COMMON = [
    "crop=16", "validation_crop=32", "crops_per_case=10", "workers=0", "learning_rate=0.001",
    "precision=float32",
]  # fmt: skip
HELD_OUT = ["validate_every=1", "validate_below=1e9"]
FIXED = ["fixed_crop=true", "validate_below=0"]
# Systems that add to an interpolation begin where others arrive.
STEPS = {"resvox": 120, "mpunet": 120, "davsr": 120, "saint": 160}
SLOW = {"saint": ["precision=bfloat16", "gradient_checkpointing=false"], "cthnet": ["precision=bfloat16"]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="prepared data with train and val cases")
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--recipes", nargs="+", choices=NAMES, default=[n for n in NAMES if find_recipe(n).network]
    )
    parser.add_argument("--steps", type=int, default=320, help="for systems that start from nothing")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    runs = {}
    for name in options.recipes:
        steps = STEPS.get(name, options.steps)
        runs[name] = [
            trained(
                name, options.data, options.output / f"{name}_{kind}", [*COMMON, *SLOW.get(name, []), *how], n
            )
            for kind, how, n in (("fixed", FIXED, steps), ("held_out", HELD_OUT, steps // 2))
        ]
        fixed, held_out = runs[name]
        scores = [line["validation"]["l1"] for line in held_out if line["validation"]]
        print(
            f"{name}: fixed crop {fixed[-1]['psnr']:.2f} dB, cubic {fixed[-1]['psnr_cubic']:.2f} dB after "
            f"{fixed[-1]['step']} steps; held out L1 {scores[0]:.4f} -> {scores[-1]:.4f}",
            flush=True,
        )
        draw(runs, options.output / "curves.png")


def trained(name: str, data: Path, folder: Path, settings: list[str], steps: int) -> list[dict]:
    """The log of a run, which is made or finished first."""
    resumed = ["--resume"] if (folder / "run.json").is_file() else []
    command = [name, "--data", str(data), "--output", str(folder), "--device", "cpu", *resumed]
    if train([*command, "--set", f"steps={steps}", *settings]):
        raise SystemExit(f"{name} did not train")
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def draw(runs: dict[str, list[list[dict]]], path: Path) -> None:
    """A panel a system."""
    from matplotlib.figure import Figure

    columns = 4
    rows = -(-len(runs) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.1 * rows), layout="constrained")
    for panel, (name, (fixed, held_out)) in enumerate(runs.items(), start=1):
        axes = figure.add_subplot(rows, columns, panel, title=find_recipe(name).title)
        steps = [line["step"] for line in fixed]
        axes.plot(steps, [line["psnr"] for line in fixed], label="one fixed crop")
        axes.plot(steps, [line["psnr_cubic"] for line in fixed], "k--", lw=1, label="cubic on it")
        axes.set(xlabel="steps", ylabel="PSNR (dB)")
        validated = [line for line in held_out if line["validation"]]
        right = axes.twinx()
        error = [3072 * line["validation"]["l1"] for line in validated]
        right.semilogy([line["step"] for line in validated], error, "C1", label="held-out case")
        right.set_ylabel("held-out error (HU)")
        if panel == 1:
            handles = [*axes.get_lines(), *right.get_lines()]
            axes.legend(handles, [line.get_label() for line in handles], loc="center right", fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
