"""The work behind each command of the command line.

Every command takes the parsed options, a reporter (:mod:`~ThickToThinSRLib.worker.reporters`) and ``cancelled()``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from ..acquisition import Acquisition
from ..acquisition import simulate as simulate_acquisition
from ..enhance import Settings, enhance_file, read_input
from ..errors import UserError
from ..io.volume_files import check_free, volume_suffix, write_volume
from ..methods.registry import methods_of
from ..worker.reporters import DONE, FAILED, THERE, WAITING


def _settings(options) -> Settings:
    return Settings(
        method=options.method,
        checkpoint=options.checkpoint,
        spacing=options.spacing,
        factor=options.factor,
        thickness=options.thickness,
        axis=options.axis,
        tiling=options.tiling,
        intensity=options.intensity,
        consistency=options.consistency == "on",
        device=options.device,
        precision=options.precision,
        minutes=options.minutes,
        epochs=options.epochs,
        planes=options.planes,
        network=options.network,
        save_weights=options.save_weights,
    )


def enhance(options, reporter, cancelled) -> None:
    """Thick volume or DICOM series to a thin one: file to file, or series to file or series."""
    report = enhance_file(
        options.input,
        options.output,
        _settings(options),
        options.series,
        options.overwrite,
        reporter.progress,
        cancelled,
        reporter.say,
    )
    reporter.say(f"written: {options.output}")
    reporter.result(report)


def enhance_many(options, reporter, cancelled) -> None:
    """A folder of volumes and series to a folder of results; UserError at the end if one failed."""
    from ..batch import run as batch
    from ..batch import shard
    from ..batch.inputs import find_cases

    rank, size = shard.rank_and_size()
    cases = shard.part(find_cases(options.input, options.output), rank, size)
    settings = _settings(options)
    settings = replace(settings, device=shard.local_device(settings.device))
    if size > 1:
        reporter.say(f"part {rank + 1} of {size}: {len(cases)} cases")
    for case in cases:
        reporter.case(case.name, WAITING)

    def tell(outcome: batch.Outcome) -> None:
        reporter.case(outcome.case.name, outcome.state, outcome.reason, outcome.seconds)

    outcomes = batch.enhance_many(cases, settings, options.overwrite, tell, reporter.progress, cancelled)
    failed = [outcome.case.name for outcome in outcomes if outcome.state == FAILED]
    counts = {state: sum(o.state == state for o in outcomes) for state in (DONE, THERE)}
    reporter.say(f"{counts[DONE]} done, {counts[THERE]} already there, {len(failed)} failed")
    if failed:
        raise UserError(f"{len(failed)} of {len(outcomes)} failed: {', '.join(failed)}")
    reporter.result({"output": str(options.output), "cases": len(outcomes), **counts})


def import_checkpoint(options, reporter, cancelled) -> None:
    """The authors' pickled weights to safetensors."""
    from ..weights.checkpoints import import_authors

    check_free(options.target, options.overwrite, options.source)
    import_authors(options.source, options.target, overwrite=options.overwrite)
    reporter.say(f"written: {options.target}")
    reporter.result({"output": str(options.target)})


def models(options, reporter, cancelled) -> None:
    """List the weights that come with the program and those that were added; add some first if asked."""
    from ..weights.added import add_weights, added_weights
    from ..weights.checkpoints import bundled_models

    if options.add is not None:
        print(f"added: {add_weights(options.add, options.overwrite)}")
    entries = bundled_models()
    if not entries:
        print("no weights are bundled; `import-checkpoint` converts published ones")
    for entry in entries:
        card = entry.card
        factor = card["window"]["factor"] or "any"
        print(f"{entry.path.name}: {card['title']} {card['version']}, upsampling factor {factor}")
        print(f"  licence {card['licence']}; origin: {card['origin']}; sha256 {entry.sha256} (verified)")
    for path, card in added_weights():
        if isinstance(card, dict):
            print(f"added: {card['title']} {card['version']}, {methods_of(card['network'])[0]}: {path}")
        else:
            print(f"added, but not to be used: {card}")


def simulate(options, reporter, cancelled) -> None:
    """Thin volume to the thick one that a scanner would have made."""
    volume_suffix(options.thick)
    check_free(options.thick, options.overwrite, options.thin)
    acquisition = Acquisition(options.thickness, options.spacing, options.profile)
    write_volume(simulate_acquisition(read_input(options.thin), acquisition), options.thick)
    reporter.say(f"written: {options.thick}")


def metrics(options, reporter, cancelled) -> None:
    """Print how an estimate differs from a reference."""
    from ..evaluation.metrics import format_report, report

    thick = None if options.thick is None else read_input(options.thick)
    measured = report(read_input(options.reference), read_input(options.estimate), thick, options.official)
    print(json.dumps(measured, indent=2) if options.json else format_report(measured))


def compare(options, reporter, cancelled) -> None:
    """Picture of volumes in three planes."""
    from ..evaluation.comparison import compare as picture

    if options.output.suffix.lower() != ".png":
        raise UserError(f"{options.output}: the picture's name must end in .png")
    check_free(options.output, options.overwrite)
    picture([(_label(path), read_input(path)) for path in options.volumes], options.output)
    reporter.say(f"written: {options.output}")


def phantom(options, reporter, cancelled) -> None:
    """Write the digital thorax phantom."""
    from ..phantom import thorax

    volume_suffix(options.output)
    check_free(options.output, options.overwrite)
    for name in ("spacing", "thickness"):
        value = getattr(options, name)
        if value is not None and not 0.1 <= value <= 50:
            raise UserError(f"--{name} must lie between 0.1 and 50 mm, not {value:g}")
    if options.seed < 0:
        raise UserError(f"--seed must be 0 or larger, not {options.seed}")
    spacing = (0.7, 0.7, options.spacing)
    write_volume(thorax(spacing=spacing, thickness=options.thickness, seed=options.seed), options.output)
    reporter.say(f"written: {options.output}")


def _label(path: Path) -> str:
    return path.name if path.is_dir() else path.name[: -len(volume_suffix(path))]
