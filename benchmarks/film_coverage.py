"""Table of the coverage of errors of held-out patches of films; rewrites that in `benchmarks/README.md`.

    OMP_NUM_THREADS=1 python benchmarks/film_coverage.py

Run it from the root of the repository. Films are Gaussian fields with waves of one period, or without
any, above a threshold; series of images are autoregressive. The likelihoods are those of two fixed
regressions of each site on its neighbours above and to the left.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, "tests")

from gaussian_films import films, spectrum

from lightdan.images.division import Division
from lightdan.images.independence import Independence
from lightdan.images.patches import TEST, TRAIN, cut
from lightdan.statistics import Blocks, Estimate, jackknife, mean

NUM_SETS = 200
PATCH, STRIDE = (16, 16), 8
SPLITS = (0.8, 0.05, 0.15)
TRUTH = 4_000_000
"""Number of sites from which the true means are measured."""


class Films(NamedTuple):
    """Set of images.

    Args:
        shape: Rows and columns.
        period: Period in sites; None peaks at k = 0.
        width: Standard deviation of the wave number in radians per site.
        threshold: Threshold of the fields.
        num: Number of images.
        lasting: Correlation of the field from one image to the next.
    """

    shape: tuple[int, int]
    period: float | None
    width: float
    threshold: float
    num: int
    lasting: float


CASES = {
    "one image of 128 × 168, period 10": Films((128, 168), 10, 0.1, 0.5, 1, 0.0),
    "one image of 256 × 256, period 10": Films((256, 256), 10, 0.1, 0.5, 1, 0.0),
    "four images of 160 × 160, no period": Films((160, 160), None, 0.3, 0.3, 4, 0.0),
    "40 images of 64 × 64, period 10": Films((64, 64), 10, 0.1, 0.5, 40, 0.0),
    "30 images of 96 × 96, period 10, neighbours correlating at .5": Films(
        (96, 96), 10, 0.1, 0.5, 30, 0.8
    ),
}
QUANTITIES = ("area fraction", "NLL", "gain", "C(1)", "C(4)")
COLUMNS = ("films", "blocks", *(f"{name} [%]" for name in QUANTITIES), "rms of the pulls")


def nll(patches: np.ndarray, couplings: tuple[float, float, float]) -> np.ndarray:
    """Return −ln p of each patch under a regression on left, upper and upper left sites `(M,)`."""
    own, left, up, corner = (
        patches[:, 1 - i : patches.shape[1] - i, 1 - j : patches.shape[2] - j]
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1))
    )
    field = 0.2 + couplings[0] * left + couplings[1] * up + couplings[2] * corner
    total: np.ndarray = np.log1p(np.exp(-2.0 * own * field)).sum((1, 2))
    return total


def columns(patches: np.ndarray) -> dict[str, np.ndarray]:
    """Return the numbers of each patch by quantity `(M,)`."""
    s = patches.astype(np.float64)
    found = {"area fraction": s.mean((1, 2)), "NLL": nll(s, (0.9, 0.9, -0.3))}
    found["gain"] = nll(s, (0.4, 0.4, 0.0)) - found["NLL"]
    for r in (1, 4):
        pairs = (s[:, r:] * s[:, :-r]).mean((1, 2)) + (s[:, :, r:] * s[:, :, :-r]).mean((1, 2))
        found[f"C({r})"] = pairs / 2
    return found


def estimates(patches: np.ndarray, blocks: Blocks | None) -> dict[str, Estimate]:
    """Return the estimates by quantity."""
    found = columns(patches)
    m = found["area fraction"]
    return {
        name: jackknife(lambda pairs, m: pairs - m**2, values, m, blocks=blocks)
        if name.startswith("C")
        else mean(values, blocks=blocks)
        for name, values in found.items()
    }


def pulls(case: Films) -> tuple[np.ndarray, float]:
    """Return (estimate − truth)/error `(data sets, quantities)`, and the mean number of blocks."""
    power, valid = spectrum(case.shape, case.period, case.width), np.ones(case.shape, bool)
    many = films(power, TRUTH // power.size, np.random.default_rng(1), case.threshold)
    tiles = [
        (image, row, column)
        for image in range(len(many))
        for row in range(0, case.shape[0] - PATCH[0] + 1, PATCH[0])
        for column in range(0, case.shape[1] - PATCH[1] + 1, PATCH[1])
    ]
    truth = estimates(cut(many, np.array(tiles), PATCH), None)
    found, numbers = [], []
    for number in range(NUM_SETS):
        rng = np.random.default_rng([0, number])
        textures = films(power, case.num, rng, case.threshold, case.lasting)
        independence = Independence.of(textures, valid)
        by = "image" if independence.repeats.independent >= 10 else "space"
        division = Division.of(independence, valid, PATCH, STRIDE, SPLITS, by, number)
        assert len(division.places[TRAIN])
        blocks = division.blocks(TEST)
        here = estimates(cut(textures, division.places[TEST], PATCH), blocks)
        found.append([(here[name].value - truth[name].value) / here[name].error for name in QUANTITIES])
        numbers.append(len(blocks.starts))
    return np.array(found), float(np.mean(numbers))


def main() -> None:
    """Measure all cases and write the table."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for name, case in CASES.items():
        found, blocks = pulls(case)
        cover = " | ".join(f"{share:.0f}" for share in 100 * (np.abs(found) < 1).mean(0))
        rms = np.sqrt((found**2).mean(0))
        lines.append(f"| {name} | {blocks:.0f} | {cover} | {rms.min():.2f}–{rms.max():.2f} |")
        print(lines[-1], flush=True)
    readme = Path("benchmarks/README.md")
    begin, end = "<!-- films -->\n", "<!-- /films -->"
    table = begin + "\n".join(lines) + "\n" + end
    text = re.sub(f"{begin}.*?{end}", lambda _: table, readme.read_text(), flags=re.DOTALL)
    readme.write_text(text)


if __name__ == "__main__":
    main()
