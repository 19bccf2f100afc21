"""Test that rows are consecutive parts at different temperatures."""

from collections.abc import Mapping

import numpy as np
from scipy.stats import chi2

from lightdan.statistics import autocorrelation_time

MOST_DRIFT = 0.4
"""Largest difference between the halves of a part, in units of that between neighbouring parts."""
CERTAIN = 1e-4
"""Probability below which chance is excluded as the reason of a difference."""


def check_consecutive(series: Mapping[float, Mapping[str, np.ndarray]], name: str) -> None:
    """Check that the rows are equal consecutive parts at different temperatures.

    The means of the parts must differ in an observable, and the halves of each part must agree in all.

    Args:
        series: Observables `(M,)` by name at each temperature, as many rows for each, in the order of
            the file.
        name: Name of the file.

    Raises:
        ValueError: The rows do not show these parts.
    """
    num, names = len(series), [*next(iter(series.values()))]
    differ, drift, ratio = 1.0, 1.0, 0.0
    for observable in names:
        parts = np.stack([each[observable] for each in series.values()])
        length = parts.shape[1]
        times = np.array([max(0.5, autocorrelation_time(part).value) for part in parts])
        # A part without fluctuations has a width that is small but not zero.
        variances = 2 * times * parts.var(1) / length + 1e-9 * parts.var() + np.finfo(float).tiny
        means = parts.mean(1)
        between = (means - np.average(means, weights=1 / variances)) ** 2 / variances
        halves = parts[:, : length // 2].mean(1) - parts[:, length // 2 :].mean(1)
        drift = min(drift, float(chi2.sf((halves**2 / (4 * variances)).sum(), num)))
        if (chance := float(chi2.sf(between.sum(), num - 1))) < differ:
            differ, ratio = chance, float(np.sqrt((halves**2).mean() / (np.diff(means) ** 2).mean()))
    same = differ * len(names) >= CERTAIN
    if not same and drift * len(names) >= CERTAIN and ratio < MOST_DRIFT:
        return
    shown = ", ".join(f"{temperature:g}" for temperature in series)
    raise ValueError(
        f"The rows of {name} do not show {num} consecutive parts of {length} rows at different "
        f"temperatures, because {'they do not differ' if same else 'they change within a part'}: set "
        "temperature to the path of a file with one number for each row, as by numpy.save('T.npy', "
        f"numpy.repeat([{shown}], {length}))."
    )
