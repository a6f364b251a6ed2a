"""How similar thick slices are to the thin ones beside them, over the splits of a data set.

The paper's analysis of its data: no system takes part in it.
"""

from __future__ import annotations

import time

from ..data.cases import SPLITS, Case
from ..ranks import Ranks
from .evaluate import CASE_ERRORS, Conditions, conditions_of, fault_of, truth_of
from .measures import slice_similarity
from .progress import Progress
from .store import Measurement, MeasurementStore

KIND = "similarity of the slices"  # of work, for the progress
# By split, measure (psnr, ssim) and distance (Match, Near, Far).
Similarity = dict[str, dict[str, dict[str, list[float]]]]


def similarity_of(
    cases: list[Case], ranks: Ranks, conditions: Conditions, progress: Progress, store: MeasurementStore
) -> tuple[Similarity, dict[str, str]]:
    """PSNR and SSIM of neighbouring slices; all processes return the same.

    Returns
    -------
    similarity : dict
        Values of all pairs of slices by split, measure and distance, see
        :func:`~training.evaluation.measures.slice_similarity`.
    faults : dict
        Why a case was left out, by its split and name.
    """
    mine, faults = [], {}
    for case in ranks.share(cases):
        started, stored_before = time.monotonic(), True
        progress.tell(f"{case.split} {case.name}: {KIND}")
        try:
            found, stored_before = store.get_or_measure(
                case.name,
                f"similarity {case.split}",
                conditions_of(case, conditions),
                lambda case=case: Measurement(slice_similarity(truth_of(case, conditions.factor))),
            )
            mine.append((case.split, found.facts))
        except CASE_ERRORS as error:
            faults[f"{case.split} {case.name}"] = fault_of(case, error)
        progress.done(KIND, None if stored_before else time.monotonic() - started)
    similarity: Similarity = {}
    for share, more in ranks.gathered((mine, faults)):
        faults |= more
        for split, facts in share:
            for measure, groups in facts.items():
                of_split = similarity.setdefault(split, {}).setdefault(measure, {})
                for name, values in groups.items():
                    of_split.setdefault(name, []).extend(values)
    return {split: similarity[split] for split in SPLITS if split in similarity}, faults
