"""Inspection of rows under several conditions: at each temperature and combination of controls."""

from collections.abc import Mapping, Sequence

import numpy as np

from lightdan.data.inspection.inspection import (
    DOUBTFUL,
    MAX_VALUES,
    Finding,
    Sites,
    inspect_rows,
    symmetry_finding,
)
from lightdan.data.rows import ChosenRows, Rows
from lightdan.data.samples import Samples
from lightdan.data.splits import SPLITS

MAX_REPEATED = 1_000_000
"""Largest number of rows that repeated ones with counts become."""
MOST_CONDITIONS = 8
"""Largest number of conditions whose rows are inspected."""
CONFOUNDED = ("flip", "pairs", "shape", "lattice", "boundary")
"""Findings that controls with many values would cause by themselves."""


def inspect_samples(
    samples: Samples,
    sites: Sites,
    max_values: int = MAX_VALUES,
    control_names: Sequence[str] = (),
) -> list[Finding]:
    """Inspect the rows of a file in their order, or counts as if their rows were repeated.

    Rows under different conditions are inspected by themselves, because their means would correlate the
    sites. A p-value is then the smallest one, times the number of conditions.

    Args:
        samples: Configurations.
        sites: Kind and place of the sites.
        max_values: Largest number of features to look at.
        control_names: Names of the controls.
    """
    every = conditions(samples, control_names)
    chosen = dict([*every.items()][:MOST_CONDITIONS])
    found = {}
    for name, part in chosen.items():
        rows, tau = equal_rows(part)
        if rows is None:
            return [Finding("tests", "none, because rows have different weights")]
        values = max_values // len(chosen)
        found[name] = inspect_rows(rows, sites, tau, values, counted=samples.has_counts)
    findings = merged(found)
    if len(every) > 1:
        first, some = next(iter(chosen)), "each" if len(chosen) == len(every) else str(len(chosen))
        sentence = f"at {some} of {len(every)} conditions; what has no p-value is of the rows at {first}"
        findings.insert(0, Finding("tests", sentence))
    if samples.controls is not None and not samples.parts:
        findings = [finding for finding in findings if finding.name not in CONFOUNDED]
        sentence = "of means only, because controls that differ from row to row correlate the sites, too"
        findings.insert(0, Finding("tests", sentence))
    return findings


def conditions(samples: Samples, control_names: Sequence[str] = ()) -> dict[str, Samples]:
    """Return the rows under each of several conditions by their name, most rows first."""
    found = {}
    for values in [*samples.parts] or [()]:
        part = samples.at(values) if values else samples
        controls = [f"{name} = {value:g}" for name, value in zip(control_names, values, strict=False)]
        for temperature in part.temperatures:
            name = ", ".join([f"T = {temperature:g}", *controls])
            found[name] = part if len(part.temperatures) == 1 else part.only(temperature)
    sizes = {name: sum(part.observations_in(split) for split in SPLITS) for name, part in found.items()}
    return {name: found[name] for name in sorted(found, key=lambda name: -sizes[name])}


def merged(found: Mapping[str, Sequence[Finding]]) -> list[Finding]:
    """Return the findings of the first condition, with the p-values of all.

    Args:
        found: Findings by name of the condition.
    """
    if len(found) == 1:
        return [*next(iter(found.values()))]
    by_name = {place: {each.name: each for each in findings} for place, findings in found.items()}
    first, *others = by_name
    findings = []
    for finding in found[first]:
        places = {place: own[finding.name] for place, own in by_name.items() if finding.name in own}
        p_values = {p: each.p_value for p, each in places.items() if each.p_value is not None}
        if finding.p_value is not None:
            place = min(p_values, key=lambda name: p_values[name])
            what, p_value = finding.sentence.rpartition(": ")[0], len(p_values) * p_values[place]
            finding = symmetry_finding(finding.name, min(1.0, p_value), what)
            if p_value < DOUBTFUL:
                finding = Finding(finding.name, f"{finding.sentence} at {place}", "", p_value)
        elif finding.name == "constant sites" and len(places) < len(by_name):
            continue
        findings.append(finding)
    copies = [(place, by_name[place]["copies"]) for place in others if "copies" in by_name[place]]
    if copies and "copies" not in by_name[first]:
        place, finding = copies[0]
        findings.insert(0, Finding("copies", f"at {place}, {finding.sentence}"))
    return findings


def equal_rows(samples: Samples, seed: int = 0) -> tuple[Rows | None, float]:
    """Return rows of equal weight in the order of the file, and their autocorrelation time.

    Rows with counts are repeated, at most a million in all, and in random order.

    Args:
        samples: Configurations.
        seed: Random seed of that order.

    Returns:
        Rows, or None if they have real weights, and their autocorrelation time in rows.
    """
    tau = max(samples.tau_int)
    if samples.row_weights is None:
        rows = samples.configurations
        numbers = np.flatnonzero(~samples.temperature.isnan().cpu().numpy())
        if len(numbers) < rows.shape[0]:
            rows = ChosenRows(rows, numbers)
        return rows, tau if tau >= 1 else 0.5
    if not samples.has_counts:
        return None, tau
    numbers = np.concatenate([samples.indices[name] for name in SPLITS])
    counts = np.concatenate([samples.row_weights[name] for name in SPLITS])
    random = np.random.default_rng(seed)
    if counts.sum() <= MAX_REPEATED:
        drawn = random.permutation(np.repeat(numbers, counts))
    else:
        drawn = random.choice(numbers, MAX_REPEATED, p=counts / counts.sum())
    different, places = np.unique(drawn, return_inverse=True)
    return np.asarray(samples.configurations[different])[places], 0.5
