"""Whether every system trains: each memorizes one crop, and improves on a held-out case.

``python -m Testing.benchmarks.training_curves DATA OUT [--recipes NAME ...]`` trains every recipe twice,
with unchanged architectures on crops of 16 x 16 pixels, and draws ``curves.png``: PSNR on the fixed crop,
that of cubic interpolation on it, and the error on the held-out case. A finished run is not repeated.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from training.recipes import NAMES, find_recipe
from training.train import TrainRequest, train

COMMON = [
    "crop=16", "validation_crop=32", "crops_per_case=10", "workers=0", "validate_every=1",
    "gradient_checkpointing=false",
]  # fmt: skip
HELD_OUT = ["validate_below=1e9"]
# This seed's crops hold edges of organs at either depth of a window; a plateau halves the rate.
FIXED = [
    "fixed_crop=true", "validate_below=0", "seed=24", "clip_norm=1", "plateau_on=training", "patience=0",
    "drop_factor=0.5", "most_drops=100",
]  # fmt: skip
TRANSFORMERS = [n for n in NAMES if n.startswith(("tvsrn", "cthnet"))]
# Stochastic depth is meant to prevent memorizing.
MEMORIZING = {name: ["drop_path=0"] for name in TRANSFORMERS}
# A new stage begins worse than the one before ended: that must not lower the rate at once.
MEMORIZING["saint"] = ["patience=2", "stage_one=0.7"]
# At 1e-3 its held-out error leaps up and down.
GENTLER = {"tvsrn_vit": ["learning_rate=0.0002"]}
RATES = {"cthnet": 3e-4, "saint": 5e-4}
PRECISION = {"cthnet": "bfloat16", "saint": "bfloat16"}
# (on the fixed crop, on all crops); systems that add to an interpolation begin where others arrive.
STEPS = {
    "mpunet": (240, 300), "resvox": (200, 300), "davsr": (240, 200), "saint": (240, 80),
    "cthnet": (240, 80), "tvsrn_vit": (400, 300), "tvsrn_encoder_only": (320, 160),
    "tvsrn_without_tab": (400, 160), "tvsrn": (480, 160), "tvsrn_mask_tokens": (260, 160),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="prepared data with train and val cases")
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--recipes", nargs="+", choices=list(STEPS), default=[n for n in NAMES if find_recipe(n).network]
    )
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    runs = {}
    for name in options.recipes:
        settings = [*COMMON, f"learning_rate={RATES.get(name, 1e-3)}"]
        settings.append(f"precision={PRECISION.get(name, 'float32')}")
        kinds = {
            "fixed": [*FIXED, *MEMORIZING.get(name, [])],
            "held_out": [*HELD_OUT, *GENTLER.get(name, [])],
        }
        runs[name] = [
            trained(name, options.data, options.output / f"{name}_{kind}", [*settings, *how], steps)
            for (kind, how), steps in zip(kinds.items(), STEPS[name], strict=True)
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
    resume = (folder / "run.json").is_file()
    train(TrainRequest(name, data, folder, "cpu", [f"steps={steps}", *settings], resume))
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
        right.plot([line["step"] for line in validated], error, "C1", label="held-out case")
        right.set(ylabel="held-out error (HU)", ylim=(0, 1.05 * max(error)))
        if panel == 1:
            handles = [*axes.get_lines(), *right.get_lines()]
            axes.legend(handles, [line.get_label() for line in handles], loc="center right", fontsize=8)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
