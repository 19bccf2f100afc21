"""Independent Markov chains in parallel, spaced until their rows are nearly independent."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lightdan.checks import check_integer, check_number, check_temperatures
from lightdan.lattices.shapes import check_shape
from lightdan.statistics import Estimate, autocorrelation_time

NUM_CHAINS = 16
SHIFTS = 3
"""Largest number of distances at which correlations have to decorrelate."""
PILOT_ROWS = 16 * 256
"""Number of rows of a pilot run, over all chains."""
MAX_SPACING = 256
"""Largest number of updates between two rows."""

Advance: TypeAlias = Callable[[NDArray[Any], int], None]
"""Fill rows `(chains, rows, sites)` with the states of all chains, a number of updates apart."""
Observe: TypeAlias = Callable[[NDArray[Any]], NDArray[np.float64]]
"""Observables of the rows of all chains, `(chains, rows, sites)` -> `(observables, chains, rows)`."""


def shifts(num_sites: int, seed: int) -> list[int]:
    """Draw differences r of raster indices; correlations of the sites i and i + r see any order.

    Args:
        num_sites: Number of sites.
        seed: Random seed.
    """
    half = np.arange(1, num_sites // 2 + 1)
    return np.random.default_rng([seed, 1]).choice(half, min(SHIFTS, len(half)), replace=False).tolist()


def pilot(
    num_chains: int,
    advance: Advance,
    observe: Observe,
    *,
    num_sites: int,
    dtype: DTypeLike,
    updates_per_call: int,
    max_spacing: int = MAX_SPACING,
) -> tuple[int, bool]:
    """Bring the chains to equilibrium and find the updates that separate independent rows.

    The arguments are those of `run`.

    Returns:
        The number of updates between two rows, and whether it makes them nearly independent.
    """
    num_rows = max(64, PILOT_ROWS // num_chains)
    spacing = 1
    while True:
        chunks = _sample(num_chains, advance, num_rows, num_sites, dtype, updates_per_call, spacing)
        series = np.concatenate([observe(chunk) for chunk in chunks], axis=2)
        taus = [autocorrelation_time(x) for x in series[:, :, num_rows // 2 :]]
        settled = all(tau.value + 3.0 * tau.error < 1.0 for tau in taus)
        if settled or spacing == max_spacing:
            return spacing, settled
        # Raise the spacing by halves, or at once if τ is many rows, because the pilot underestimates it.
        factor = max(1.5, max(tau.value for tau in taus) / 4.0)
        spacing = min(max_spacing, max(spacing + 1, int(factor * spacing)))


def run(
    num_chains: int,
    advance: Advance,
    observe: Observe,
    num_configurations: int,
    num_sites: int,
    *,
    dtype: DTypeLike,
    updates_per_call: int,
    max_spacing: int = MAX_SPACING,
    spacing: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[NDArray[Any], list[Estimate], int]:
    """Run the chains and record their rows at a spacing that makes them nearly independent.

    The number of updates between two rows is fixed in advance, because recording after an event of the
    chain would favour some states. `pilot`, which is also the burn-in, raises it until τ of every
    observable is below one row, or until it reaches `max_spacing`.

    Args:
        num_chains: Number of chains.
        advance: Function that moves all chains; `in_threads` makes it from one that moves a chain.
        observe: Observables that have to decorrelate.
        num_configurations: Number of rows over all chains.
        num_sites: Number N of sites.
        dtype: Type of the rows.
        updates_per_call: Number of updates that take about 15 ms. Threads return between calls, so that
            an interrupt is noticed.
        max_spacing: Largest number of updates between two rows.
        spacing: Number of updates between two rows that an earlier pilot found.
        progress: Callback that receives the number of new configurations, in the calling thread.

    Returns:
        The rows `(num_configurations, sites)`, chain after chain; τ of each observable in rows; and the
        number of updates between two rows.
    """
    rows_per_chain = -(-num_configurations // num_chains)
    configurations = np.empty((num_chains, rows_per_chain, num_sites), dtype)
    series: list[NDArray[np.float64]] = []
    done = 0
    if spacing is None:
        spacing, _ = pilot(
            num_chains,
            advance,
            observe,
            num_sites=num_sites,
            dtype=dtype,
            updates_per_call=updates_per_call,
            max_spacing=max_spacing,
        )
    for rows in _sample(
        num_chains, advance, rows_per_chain, num_sites, dtype, updates_per_call, spacing
    ):
        start, done = done, done + rows.shape[1]
        configurations[:, start:done] = rows
        series.append(observe(rows))
        if progress is not None:
            progress(min(num_chains * rows.shape[1], num_configurations - num_chains * start))
    taus = [autocorrelation_time(x) for x in np.concatenate(series, axis=2)]
    return configurations.reshape(-1, num_sites)[:num_configurations], taus, spacing


def in_threads(advance: Callable[[NDArray[Any], Any, int], None], chains: Sequence[Any]) -> Advance:
    """Return a function that moves all chains in threads.

    Args:
        advance: Function that fills the rows `(rows, sites)` of one chain and releases the interpreter.
        chains: The chains.
    """

    def advance_all(rows: NDArray[Any], spacing: int) -> None:
        with ThreadPoolExecutor(min(len(chains), os.cpu_count() or 1)) as pool:
            list(pool.map(lambda out, chain: advance(out, chain, spacing), rows, chains))

    return advance_all


def validate(
    shape: Sequence[int], temperature: float, num_configurations: int, **parameters: float
) -> None:
    """Raise ValueError unless the arguments can be simulated.

    Raises:
        ValueError: An argument is out of its range, or a parameter is not finite; the message names it.
    """
    check_shape(shape)
    check_temperatures(temperature)
    check_integer("num_configurations", num_configurations)
    for name, value in parameters.items():
        check_number(name, value)


def generators(seed: int) -> list[np.random.Generator]:
    """Return one random generator per chain."""
    return [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(NUM_CHAINS)]


def _sample(
    num_chains: int,
    advance: Advance,
    num_rows: int,
    num_sites: int,
    dtype: DTypeLike,
    updates_per_call: int,
    spacing: int,
) -> Iterator[NDArray[Any]]:
    """Yield the next rows of all chains in short chunks `(chains, rows, sites)`."""
    chunk = max(1, updates_per_call // spacing)
    for start in range(0, num_rows, chunk):
        rows = np.empty((num_chains, min(chunk, num_rows - start), num_sites), dtype)
        advance(rows, spacing)
        yield rows
