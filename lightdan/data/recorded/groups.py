"""Rows of equal temperature and, if these take few values, of equal controls."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightdan.data.recorded.temperatures import Opened
from lightdan.data.rows import Rows
from lightdan.data.samples import Samples
from lightdan.data.splits import derive_seed

FEW_ROWS = 5
"""Mean number of rows at a temperature below which the temperatures are taken for readings."""
MOST_COMBINATIONS = 32
"""Largest number of combinations of controls that are told apart."""
FEWEST_HELD_OUT = 10
"""Smallest number of held-out rows of each of them."""


class Group(NamedTuple):
    """Rows under equal conditions.

    Args:
        temperature: Temperature T.
        controls: Value of each control, or None if there are none or if they differ from row to row.
        rows: Ascending row numbers.
    """

    temperature: float
    controls: tuple[float, ...] | None
    rows: np.ndarray


def groups_of(opened: Opened, num: int | None = None, share: float = 1.0) -> list[Group]:
    """Return the rows at each temperature, in ascending order.

    Rows with controls of few combinations, all with enough held-out rows, are told apart by these, too.
    Numbers are compared in single precision.

    Args:
        opened: Configurations with their temperatures and controls.
        num: Number of rows in each group, from the first; None takes all.
        share: Fraction of the rows that is held out for the test.

    Raises:
        ValueError: A group has fewer rows, or there are too few rows at each temperature.
    """
    parts = _parts(opened.temperature[:, None])
    groups = [Group(temperature, None, rows) for (temperature,), rows in parts]
    if len(groups) > 1 and len(opened.temperature) < FEW_ROWS * len(groups):
        raise ValueError(
            f"The {opened.origin} has {len(groups)} different temperatures for "
            f"{len(opened.temperature)} rows, too few at each: round the temperatures, so that several "
            "rows share each of them."
        )
    if opened.controls is not None:
        groups = _told_apart(groups, opened.controls, opened.weights, num, share)
    for group in groups:
        if num is not None and not 1 <= num <= len(group.rows):
            where = f" at {in_words(group, opened.control_names)}" if len(groups) > 1 else ""
            raise ValueError(
                f"num_configurations is {num}, but the file {opened.name} has {len(group.rows)} "
                f"rows{where}: pass at most that number, or leave it out."
            )
    return [group._replace(rows=group.rows[:num]) for group in groups]


def in_words(group: Group, control_names: Sequence[str]) -> str:
    """Return the conditions of a group, like ``T = 2, h = 0.3``."""
    controls = zip(control_names, group.controls or (), strict=False)
    return ", ".join(
        [f"T = {group.temperature:g}", *(f"{name} = {value:g}" for name, value in controls)]
    )


def split_groups(
    configurations: Tensor | Rows,
    groups: Sequence[Group],
    reach: Sequence[float],
    fractions: Sequence[float],
    seed: int,
    weights: Tensor | None,
    controls: Tensor | None,
    names: Sequence[str] | None,
) -> Samples:
    """Return configurations with a split of each group.

    Args:
        configurations: All configurations `(M, *lattice)`.
        groups: Groups of rows.
        reach: Number of rows over which those of each group are correlated.
        fractions: Fractions of the rows for training, validation and test.
        seed: Random seed for the splits.
        weights: Weights of all rows `(M,)`.
        controls: Controls of all rows `(M, controls)`.
        names: Name of each group for messages.

    Raises:
        ValueError: A fraction is out of its range, or a split would be empty.
    """

    def split(places: Sequence[int], seed: int, controls: Tensor | None) -> Samples:
        chosen = [groups[place] for place in places]
        return Samples.split(
            configurations,
            [len(group.rows) for group in chosen],
            [group.temperature for group in chosen],
            [reach[place] for place in places],
            fractions,
            seed,
            order=torch.from_numpy(np.concatenate([group.rows for group in chosen])),
            weights=weights,
            controls=controls,
            names=None if names is None else [names[place] for place in places],
        )

    places: dict[tuple[float, ...], list[int]] = {}
    for place, group in enumerate(groups):
        if group.controls is None:
            return split(range(len(groups)), seed, controls)
        places.setdefault(group.controls, []).append(place)
    assert controls is not None
    parts = {
        values: split(places[values], derive_seed(seed, number), None)
        for number, values in enumerate(sorted(places))
    }
    return Samples.join(parts, controls)


def series_at(
    groups: Sequence[Group], series: Sequence[Mapping[str, np.ndarray]]
) -> dict[float, dict[str, np.ndarray]]:
    """Return series of the rows at each temperature in their order, first temperature first.

    Args:
        groups: Groups of rows.
        series: Series `(M,)` of the rows of each group by name.
    """
    joined: dict[float, dict[str, np.ndarray]] = {}
    first: dict[float, int] = {}
    for group in groups:
        first[group.temperature] = min(int(group.rows[0]), first.get(group.temperature, sys.maxsize))
    for temperature in sorted(first, key=lambda value: first[value]):
        chosen = [place for place, group in enumerate(groups) if group.temperature == temperature]
        order = np.argsort(np.concatenate([groups[place].rows for place in chosen]))
        joined[temperature] = {
            name: np.concatenate([series[place][name] for place in chosen])[order] for name in series[0]
        }
    return joined


def _told_apart(
    groups: Sequence[Group],
    controls: np.ndarray,
    weights: np.ndarray | None,
    num: int | None,
    share: float,
) -> list[Group]:
    """Return groups of equal controls, or the same groups if the combinations are many or rare."""
    combinations = [*_parts(controls)]
    if len(combinations) > MOST_COMBINATIONS:
        return list(groups)
    parts = [
        Group(group.temperature, values, shared)
        for group in groups
        for values, rows in combinations
        if len(shared := np.intersect1d(group.rows, rows, assume_unique=True))
    ]
    observations = np.ones(len(controls)) if weights is None else weights
    if observations.dtype.kind == "f":
        observations = observations > 0
    sizes = [observations[part.rows[:num]].sum() for part in parts]
    return parts if share * min(sizes) >= FEWEST_HELD_OUT else list(groups)


def _parts(values: np.ndarray) -> Iterator[tuple[tuple[float, ...], np.ndarray]]:
    """Yield the rows with equal values, and these, in ascending order.

    Args:
        values: Numbers for each row `(M, columns)`.
    """
    single = values.astype(np.float32) + np.float32(0)  # −0 becomes 0
    _, first, inverse = np.unique(single, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(inverse.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(inverse.ravel()))[:-1]
    for place, part in zip(first, np.split(order, ends), strict=True):
        yield tuple(float(value) + 0.0 for value in values[place]), part
