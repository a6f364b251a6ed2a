"""Seconds and peak memory of whole `enhance` runs on a 512 x 512 x 60 series, as separate processes.

``python -m Testing.benchmarks.volumes [CHECKPOINT ...] [--device D]`` prints a line a method. Memory is that
of the process at its peak, less what importing alone takes; beside it stand the sizes of input and result in
MiB, and the same run on half the slices, which tells whether working memory grows with them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ThickToThinSRLib.io.volume_files import write_volume
from ThickToThinSRLib.volume import Volume


def run(arguments: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident MiB of one command."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--slices", type=int, default=60)
    options = parser.parse_args()
    jobs = [["--method", name] for name in ("interpolation", "consistent", "universal")]
    jobs += [["--method", "sr4zct", "--minutes", minutes] for minutes in ("0", "1")]
    jobs += [["--checkpoint", str(path), "--device", options.device] for path in options.checkpoints]
    _, importing = run(["-c", "import ThickToThinSRLib.cli.main"])
    print(f"{'method':16} {'slices':>6} {'seconds':>8} {'peak MiB':>9} {'input':>6} {'result':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for slices in (options.slices // 2, options.slices):
            thick, thin = Path(folder) / "thick.nrrd", Path(folder) / "thin.nrrd"
            noise = np.random.default_rng(0).normal(-300, 400, (slices, 512, 512)).clip(-1024, 2000)
            write_volume(Volume(noise.astype(np.int16), (0.7, 0.7, 5.0)), thick, compress=False)
            for job in jobs:
                command = ["-m", "ThickToThinSRLib", "enhance", str(thick), str(thin), "--overwrite"]
                seconds, peak = run([*command, "--progress", "none", *job])
                name = json.loads((Path(folder) / "thin.nrrd.provenance.json").read_text())["method"]
                sizes = [count * 512 * 512 * 2 / 2**20 for count in (slices, 5 * (slices - 1) + 1)]
                figures = f"{peak - importing:9.0f} {sizes[0]:6.0f} {sizes[1]:7.0f}"
                print(f"{name:16} {slices:6} {seconds:8.1f} {figures}", flush=True)


if __name__ == "__main__":
    main()
