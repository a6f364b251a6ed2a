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
from ..worker.protocol import FAILED, RUNNING, WAITING
from ..worker.reporters import REPORTERS


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
        refuse_thin=options.refuse_thin,
    )
    reporter.say(f"written: {options.output}")
    reporter.result(report)


def enhance_many(options, reporter, monitor) -> None:
    """Enhance all volume files and series in a folder; raises UserError at the end if any failed."""
    from ..batch import run as batch
    from ..batch import shard
    from ..batch.inputs import find_inputs
    from ..batch.tally import Tally

    rank, size = shard.rank_and_size()
    entries = shard.share(find_inputs(options.input, options.output, monitor), rank, size)
    settings = _settings(options)
    settings = replace(settings, device=shard.local_device(settings.device))
    if size > 1:
        reporter.say(f"part {rank + 1} of {size}: {len(entries)} inputs")
    if options.dry_run:
        _look(entries, settings, reporter, monitor, lambda entry: batch.is_there(entry, settings))
        return
    for entry in entries:
        reporter.case(entry.name, WAITING)

    tally = Tally(len(entries))
    reporter.ending = lambda: f"cancelled: {tally}; finished results are kept; start again to continue"

    def on_change(outcome: batch.Outcome) -> None:
        if outcome.state != RUNNING:
            tally.count(outcome.state)
        reporter.case(outcome.entry.name, outcome.state, outcome.reason, outcome.seconds)

    manner = batch.Manner(settings, options.overwrite, options.already_thin)
    outcomes = batch.enhance_many(entries, manner, on_change, monitor)
    failed = [outcome.entry.name for outcome in outcomes if outcome.state == FAILED]
    reporter.say(str(tally))
    if failed:
        raise UserError(f"{len(failed)} of {len(outcomes)} failed: {', '.join(failed)}")
    facts = {"output": str(options.output), "cases": len(outcomes), "notes": monitor.notes}
    reporter.result({**facts, **tally.as_dict()})


def info(options, reporter, monitor) -> None:
    """What inputs are, and what each method would make of them; UserError at the end if one is refused."""
    from .looking import inputs_of

    # With JSON on standard output, lines for people would be in its way.
    reporter = REPORTERS["none" if options.json else "bar"]()
    monitor = reporter.monitor(monitor.is_cancelled)
    _look(inputs_of(options.input, monitor), _settings(options), reporter, monitor, as_json=options.json)


def _look(entries, settings: Settings, reporter, monitor, batch_has=None, as_json: bool = False) -> None:
    """Say what is known of inputs; `batch_has` tells, in a batch, whether an input has its result."""
    from .looking import facts_of, lines_of

    found = []
    for entry in entries:
        monitor.check()
        facts = facts_of(entry, settings, refuse_thin=batch_has is not None)
        found.append({**facts, "already_there": batch_has is not None and batch_has(entry)})
        for line in lines_of(found[-1]):
            reporter.say(line)
        if found[-1]["already_there"]:
            reporter.say("  the result is there already")
    if as_json:
        print(json.dumps({"notes": monitor.notes, "inputs": found}, indent=2))
    else:
        reporter.result({"notes": monitor.notes, "inputs": found})
    refused = [one["name"] for one in found if one["error"] and not one.get("already_thin")]
    if refused:
        raise UserError(f"{len(refused)} of {len(found)} cannot be enhanced: {', '.join(refused)}")


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
    from ..io.replacing import check_free
    from ..io.volume_files import write_volume, written_suffix

    written_suffix(options.thick)
    check_free(options.thick, options.overwrite, options.thin)
    acquisition = Acquisition(options.thickness, options.spacing, options.profile)
    write_volume(simulate_thick(_read(options.thin, options, monitor), acquisition), options.thick)
    reporter.say(f"written: {options.thick}")


def metrics(options, reporter, monitor) -> None:
    """Print how a result differs from the truth."""
    from ..evaluation.metrics import format_report, report
    from ..inspection.slice_profile import with_rounding

    thick = None if options.thick is None else _read(options.thick, options, monitor)
    reference, estimate = (_read(path, options, monitor) for path in (options.reference, options.estimate))
    measured = report(reference, estimate, thick, options.official, with_rounding)
    print(json.dumps(measured, indent=2) if options.json else format_report(measured))


def compare(options, reporter, monitor) -> None:
    """Draw volumes side by side in three planes."""
    from ..evaluation.comparison import compare as picture
    from ..io.replacing import check_free

    if options.output.suffix.lower() != ".png":
        raise UserError(f"{options.output}: the name of the picture must end in .png")
    check_free(options.output, options.overwrite)
    picture([(_label(path), _read(path, options, monitor)) for path in options.volumes], options.output)
    reporter.say(f"written: {options.output}")


def phantom(options, reporter, monitor) -> None:
    """Write the digital thorax phantom."""
    from ..io.replacing import check_free
    from ..io.volume_files import write_volume, written_suffix
    from ..phantom import thorax

    written_suffix(options.output)
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


def _read(path: Path, options, monitor):
    """The Volume of a file or folder; what makes it doubtful is told on standard error."""
    from ..io.reading import read_input

    volume = read_input(path, nifti=options.nifti)
    for warning in volume.source.get("warnings", ()):
        monitor.warn(f"{path}: {warning}")
    return volume


def _label(path: Path) -> str:
    from ..io.volume_files import volume_suffix

    return path.name if path.is_dir() else path.name[: -len(volume_suffix(path))]
