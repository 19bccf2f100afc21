"""Inspection of configurations: their symmetries, their lattice, and what to set to fit a model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lightdan.data.inspection.blocks import MIN_BLOCKS, SiteBlocks
from lightdan.data.inspection.copies import share_of_copies, without_copies
from lightdan.data.inspection.pairs import RecognisedLattice, correlated_pairs, recognise_lattice
from lightdan.data.inspection.symmetries import bond_test, flip_tests, site_test
from lightdan.data.rows import Rows
from lightdan.statistics import TIMES_PER_BLOCK, Estimate

MAX_VALUES = 30_000_000
"""Largest number of features that are looked at."""
BRIEF_VALUES = 3_000_000
"""Largest number of features behind the few lines at the start of a fit."""
CLEAR, DOUBTFUL = 0.001, 0.05
"""p-values below which a symmetry is broken, and below which it is in doubt."""
AXES = {1: ("the line of sites",), 2: ("the first axis", "the second axis")}


@dataclass(frozen=True)
class Finding:
    """One result of an inspection.

    Args:
        name: Short name.
        sentence: Result in words.
        option: Option of ``lightdan fit`` to set because of it; empty for none.
        p_value: Probability of rows at least so far from the symmetry in the sentence, if they have it.
    """

    name: str
    sentence: str
    option: str = ""
    p_value: float | None = None


class Sites(NamedTuple):
    """Kind and place of the sites of a configuration.

    Args:
        kind: Kind of site, as in `System`.
        levels: Values of a discrete site, as in `System`.
        shape: Shape of the lattice.
        boundary: Boundary that is set.
        plain: Whether the sites form a line or a rectangle, whose bonds and axes are looked for.
        names: Names of the levels, as in `Recorded`; empty if they are their values.
    """

    kind: str
    levels: Sequence[int]
    shape: tuple[int, ...]
    boundary: str
    plain: bool = True
    names: Sequence[str] = ()


def inspect_rows(
    rows: Rows, sites: Sites, tau: float, max_values: int = MAX_VALUES, *, counted: bool = False
) -> list[Finding]:
    """Test the symmetries of configurations, and look for a lattice in their correlations.

    Args:
        rows: Configurations `(M, *lattice)`.
        sites: Kind and place of the sites.
        tau: Integrated autocorrelation time in rows.
        max_values: Largest number of features to look at; larger files are sampled.
        counted: Whether equal rows are known to be independent.
    """
    findings = []
    if not counted and (share := share_of_copies(rows, tau, sites.levels)):
        rows = without_copies(rows, max_values)
        sentence = (
            f"{100 * share:.2g} % of the rows repeat another one, all about equally often: write copies "
            f"once, because errors count them as new rows (these tests take {len(rows)} different ones)"
        )
        findings.append(Finding("copies", sentence))
    num = rows.shape[0]
    blocks = SiteBlocks.of(rows, sites.kind, sites.levels, tau, max_values)
    if blocks.num_rows < num / 2:
        sentence = f"{blocks.num_rows} of {num} rows, in {blocks.num} blocks along the file"
        findings.append(Finding("looked at", sentence))
    findings += _constant_sites(blocks, sites.shape)
    if not blocks.independent:
        return [*findings, _too_few(num, tau)]
    findings += [_mean(blocks, sites), *_flip(rows, blocks, sites, tau, max_values)]
    findings.append(symmetry_finding("sites", site_test(blocks), "equal means on all sites"))
    if not sites.plain:
        return findings
    lattice = recognise_lattice(blocks, sites.shape)
    if len(sites.shape) > 1 or any(lattice.ordered):
        wrap = "periodic" in (lattice.boundary, sites.boundary)
        p_value = bond_test(blocks, lattice.shape, wrap=wrap)
        findings.append(symmetry_finding("bonds", p_value, "equal products on all bonds of an axis"))
    return [*findings, *_lattice(blocks, sites, lattice)]


def brief(findings: Sequence[Finding]) -> list[str]:
    """Return a few lines for the start of a fit: symmetries, and what is set differently."""
    tests = [f"{f.sentence} (p {shown(f.p_value)})" for f in findings if f.p_value is not None]
    lines = [f"  symmetries: {'; '.join(tests)}"] if tests else []
    for finding in findings:
        if finding.option or finding.name in ("copies", "constant sites", "tests"):
            lines.append(f"  {finding.name}: {finding.sentence}")
            lines += [f"    set {finding.option}"] if finding.option else []
    return lines


def shown(p_value: float) -> str:
    """Return a p-value in two digits, or the resolution of the test as a bound."""
    return "< 0.0001" if p_value < 1e-4 else f"= {p_value:.2g}"


def _constant_sites(blocks: SiteBlocks, shape: tuple[int, ...]) -> list[Finding]:
    still = np.flatnonzero(blocks.variances <= 1e-6 * blocks.variances.max())
    if not len(still):
        return []
    places = [tuple(int(i) for i in np.unravel_index(site, shape)) for site in still[:5]]
    listed = ", ".join(str(place[0] if len(place) == 1 else place) for place in places)
    more = f" and {len(still) - 5} more" if len(still) > 5 else ""
    return [Finding("constant sites", f"{listed}{more}: remove what is no site of the system")]


def _too_few(num: int, tau: float) -> Finding:
    least = math.ceil(MIN_BLOCKS * TIMES_PER_BLOCK * tau)
    return Finding(
        "tests",
        f"none, because {num} rows are only {num / tau:.0f} autocorrelation times: symmetry and lattice "
        f"can be tested from {least} rows on",
    )


def _mean(blocks: SiteBlocks, sites: Sites) -> Finding:
    """Return the mean over sites and rows, with the error from the blocks."""
    means = blocks.means.mean(2)
    spread = math.sqrt(max(float(blocks.variances.mean()), 0.0))
    # Spins, fields and levels may be conserved, whose mean has no error; single precision rounds it.
    fixed = bool(np.ptp(means, axis=0).max() <= 1e-6 * spread)
    where = ", the same in all rows" if fixed else ""
    errors = means.std(0, ddof=1) / math.sqrt(blocks.num)
    first, *others = (Estimate(float(v), float(e)) for v, e in zip(means.mean(0), errors, strict=True))
    if sites.kind == "spin":
        up = Estimate(50 * (1 + first.value), 50 * first.error)
        return Finding("up", f"{f'{up.value:.6g}' if fixed else up} % of the spins{where}")
    if sites.kind == "angle":
        return Finding("mean", f"⟨cos θ⟩ = {first}, ⟨sin θ⟩ = {others[0]}")
    if others:
        pairs = zip(sites.names or sites.levels, (first, *others), strict=True)
        shares = [f"{level}: {100 * share.value:.3g} %" for level, share in pairs]
        return Finding("levels", ", ".join(shares[:8]) + (", …" if len(shares) > 8 else "") + where)
    in_units = Estimate(blocks.unit * (first.value + blocks.origin), blocks.unit * first.error)
    value = (
        f"{round(in_units.value / blocks.unit, 5) * blocks.unit + 0.0:.6g}{where}" if fixed else in_units
    )
    return Finding("mean", f"{value}, with a standard deviation of {blocks.unit:.4g}")


def _flip(rows: Rows, blocks: SiteBlocks, sites: Sites, tau: float, max_values: int) -> list[Finding]:
    """Return whether s → −s is a symmetry, where it maps values onto values."""
    symmetric = [*sites.levels] == [-level for level in reversed(sites.levels)]
    if sites.kind == "level" and not symmetric:
        return []
    if sites.kind == "level":
        blocks = SiteBlocks.of(rows, "real", (), tau, max_values)
    tests = flip_tests(blocks)
    change = {"real": "φ → −φ", "angle": "a rotation of all angles by π"}.get(sites.kind, "s → −s")
    # The smaller of two p-values is at most p with probability 2p.
    return [symmetry_finding("flip", min(1.0, 2 * min(tests.values())), change)]


def symmetry_finding(name: str, p_value: float, what: str) -> Finding:
    """Return whether a symmetry is broken, in doubt, or not ruled out."""
    doubt = "in doubt" if p_value < DOUBTFUL else "not ruled out"
    verdict = "broken" if p_value < CLEAR else doubt
    return Finding(name, f"{what}: {verdict}", "", p_value)


def _lattice(blocks: SiteBlocks, sites: Sites, lattice: RecognisedLattice) -> list[Finding]:
    """Return whether pairs are correlated, which are neighbours, and the boundary."""
    number, of = correlated_pairs(blocks)
    findings = [Finding("pairs", f"{number} of {of} pairs of sites are correlated")]
    sides = " × ".join(map(str, lattice.shape))
    if lattice.shape != sites.shape:
        sentence = (
            f"sites {lattice.shape[1]} places apart are neighbours, as on a lattice of {sides} sites "
            "written in one line"
        )
        option = f"--data.init_args.shape '[{lattice.shape[0]}, {lattice.shape[1]}]'"
        findings.append(Finding("shape", sentence, option))
    clear = [
        axis for axis, is_one in zip(AXES[len(lattice.shape)], lattice.ordered, strict=True) if is_one
    ]
    if clear:
        sentence = f"correlations depend on the distance along {' and '.join(clear)}"
    elif None in lattice.ordered:
        sentence = "unknown, because an axis of fewer than four sites has no distant ones"
    elif number:
        sentence = (
            "a graph, or another order of sites: correlations do not depend on the distance along the "
            "lattice"
        )
    else:
        sentence = "unknown, because no sites are correlated"
    findings.append(Finding("lattice", sentence))
    if lattice.boundary == "unknown":
        if all(lattice.ordered):
            question = (
                f"not clear from these rows; {sites.boundary} is set, and periodic is right if first "
                "and last sites are neighbours"
            )
            findings.append(Finding("boundary", question))
        return findings
    option = ""
    if lattice.boundary == "periodic":
        sentence = "periodic: first and last sites are correlated like neighbours"
    else:
        sentence = (
            "open: first and last sites are not correlated like neighbours; for a piece of a larger "
            "lattice set window"
        )
    if sites.boundary != lattice.boundary and {sites.boundary, lattice.boundary} != {"open", "window"}:
        sentence += f"; {sites.boundary} is set"
        option = f"--data.init_args.boundary {lattice.boundary}"
    return [*findings, Finding("boundary", sentence, option)]
