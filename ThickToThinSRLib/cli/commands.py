"""The commands of the command line.

A command takes the parsed options, a reporter (:mod:`~ThickToThinSRLib.worker.reporters`) and its monitor.
Modules are imported when a command runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from ..errors import UserError
from ..settings import OPTIONS, Settings
from ..worker.protocol import DONE, FAILED, THERE, WAITING


def _settings(options) -> Settings:
    return Settings(**{name: getattr(options, name) for name in OPTIONS if hasattr(options, name)})


def enhance(options, reporter, monitor) -> None:
    """Enhance a volume file or DICOM series; write a volume file or derived series."""
    from ..enhance import enhance_file

    report = enhance_file(
        options.input,
        options.output,
        _settings(options),
        monitor,
        series=options.series,
        overwrite=options.overwrite,
    )
    reporter.say(f"written: {options.output}")
    reporter.result(report)


def enhance_many(options, reporter, monitor) -> None:
    """Enhance all volume files and series in a folder; raises UserError at the end if any failed."""
    from ..batch import run as batch
    from ..batch import shard
    from ..batch.inputs import find_inputs

    rank, size = shard.rank_and_size()
    entries = shard.share(find_inputs(options.input, options.output), rank, size)
    settings = _settings(options)
    settings = replace(settings, device=shard.local_device(settings.device))
    if size > 1:
        reporter.say(f"part {rank + 1} of {size}: {len(entries)} inputs")
    for entry in entries:
        reporter.case(entry.name, WAITING)

    def on_change(outcome: batch.Outcome) -> None:
        reporter.case(outcome.entry.name, outcome.state, outcome.reason, outcome.seconds)

    outcomes = batch.enhance_many(entries, settings, on_change, monitor, options.overwrite)
    failed = [outcome.entry.name for outcome in outcomes if outcome.state == FAILED]
    counts = {state: sum(o.state == state for o in outcomes) for state in (DONE, THERE)}
    reporter.say(f"{counts[DONE]} done, {counts[THERE]} already there, {len(failed)} failed")
    if failed:
        raise UserError(f"{len(failed)} of {len(outcomes)} failed: {', '.join(failed)}")
    reporter.result({"output": str(options.output), "cases": len(outcomes), **counts})


def import_checkpoint(options, reporter, monitor) -> None:
    """Convert the authors' pickled weights to safetensors."""
    from ..io.replacing import check_free
    from ..weights.importing import import_authors

    check_free(options.target, options.overwrite, options.source)
    import_authors(options.source, options.target, overwrite=options.overwrite)
    reporter.say(f"written: {options.target}")
    reporter.result({"output": str(options.target)})


def models(options, reporter, monitor) -> None:
    """List the bundled and added weights; with ``--add``, add a file first."""
    from ..methods.registry import methods_of
    from ..weights.added import add_weights, added_weights
    from ..weights.bundled import bundled_weights

    if options.add is not None:
        print(f"added: {add_weights(options.add, options.overwrite)}")
    bundled = bundled_weights()
    if not bundled:
        print("no weights come with this program; `import-checkpoint` converts published ones")
    for entry in bundled:
        card = entry.card
        print(
            f"{entry.path.name}: {card['title']} {card['version']}, upsampling factor {entry.factor or 'any'}"
        )
        print(f"  licence {card['licence']}; origin: {card['origin']}; sha256 {entry.sha256} (verified)")
    for entry in added_weights():
        if isinstance(entry, UserError):
            print(f"added, but unusable: {entry}")
        else:
            names = f"{entry.card['title']} {entry.card['version']}, {methods_of(entry.network)[0]}"
            print(f"added: {names}: {entry.path}")


def simulate(options, reporter, monitor) -> None:
    """Simulate the thick slices that a scanner would have made."""
    from ..acquisition import Acquisition
    from ..acquisition import simulate as simulate_thick
    from ..io.reading import read_input
    from ..io.replacing import check_free
    from ..io.volume_files import volume_suffix, write_volume

    volume_suffix(options.thick)
    check_free(options.thick, options.overwrite, options.thin)
    acquisition = Acquisition(options.thickness, options.spacing, options.profile)
    write_volume(simulate_thick(read_input(options.thin), acquisition), options.thick)
    reporter.say(f"written: {options.thick}")


def metrics(options, reporter, monitor) -> None:
    """Print how a result differs from the truth."""
    from ..evaluation.metrics import format_report, report
    from ..io.reading import read_input

    thick = None if options.thick is None else read_input(options.thick)
    measured = report(read_input(options.reference), read_input(options.estimate), thick, options.official)
    print(json.dumps(measured, indent=2) if options.json else format_report(measured))


def compare(options, reporter, monitor) -> None:
    """Draw volumes side by side in three planes."""
    from ..evaluation.comparison import compare as picture
    from ..io.reading import read_input
    from ..io.replacing import check_free

    if options.output.suffix.lower() != ".png":
        raise UserError(f"{options.output}: the name of the picture must end in .png")
    check_free(options.output, options.overwrite)
    picture([(_label(path), read_input(path)) for path in options.volumes], options.output)
    reporter.say(f"written: {options.output}")


def phantom(options, reporter, monitor) -> None:
    """Write the digital thorax phantom."""
    from ..io.replacing import check_free
    from ..io.volume_files import volume_suffix, write_volume
    from ..phantom import thorax

    volume_suffix(options.output)
    check_free(options.output, options.overwrite)
    for name in ("spacing", "thickness"):
        value = getattr(options, name)
        if value is not None and not 0.1 <= value <= 50:
            raise UserError(f"{{{name}}} must lie between 0.1 and 50 mm, not {value:g}", name)
    if options.seed < 0:
        raise UserError(f"{{seed}} must be 0 or larger, not {options.seed}", "seed")
    spacing = (0.7, 0.7, options.spacing)
    write_volume(thorax(spacing=spacing, thickness=options.thickness, seed=options.seed), options.output)
    reporter.say(f"written: {options.output}")


def _label(path: Path) -> str:
    from ..io.volume_files import volume_suffix

    return path.name if path.is_dir() else path.name[: -len(volume_suffix(path))]
