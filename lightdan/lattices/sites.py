"""Checks that given values are configurations of a lattice."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from lightdan.lattices.angles import TWO_PI, wrap
from lightdan.types import ConfigurationsLike, ControlsLike, TemperatureLike

NAMES = {"spin": "spin", "level": "level of the sites", "angle": "finite angle", "real": "finite number"}
"""Names of one site's value by kind of site."""


def site_values(
    given: ConfigurationsLike,
    lattice_shape: Sequence[int],
    site_kind: str,
    levels: Sequence[int],
    like: Tensor | None = None,
    name: str = "configurations",
) -> Tensor:
    """Return configurations as a floating tensor `(B, *lattice)`, after checking every value.

    Angles are taken modulo 2π.

    Args:
        given: Tensor or array of any numeric type.
        lattice_shape: Numbers of sites along the axes.
        site_kind: Kind of site, as in `System`.
        levels: Values of a discrete site.
        like: Tensor that gives device and floating type; by default those of the argument, and the
            default type in place of integers.
        name: Name of the argument, for messages.

    Raises:
        ValueError: The shape is another one, or a value is none of a site.
    """
    values = _tensor(given)
    if values.ndim != 1 + len(lattice_shape) or tuple(values.shape[1:]) != tuple(lattice_shape):
        sites = ", ".join(map(str, lattice_shape))
        remedy = f"pass the shape (B, {sites})"
        if tuple(values.shape) == tuple(lattice_shape):
            remedy += ", here s[None]"
        raise ValueError(f"The {name} have the shape {tuple(values.shape)}: {remedy}.")
    if values.numel() and not _are_sites(values.detach(), levels):
        raise ValueError(_fault(name, values.detach(), site_kind, levels))
    if site_kind == "angle" and values.numel():
        low, high = _ends(values.detach())
        values = values if low >= 0 and high < TWO_PI else wrap(values)
    if like is None or (values.dtype == like.dtype and values.device == like.device):
        return values
    cast = values.to(like)
    # The largest angles below 2π in double precision are rounded up to it in single precision.
    return wrap(cast) if site_kind == "angle" else cast


def temperatures(given: TemperatureLike, num: int, like: Tensor) -> Tensor:
    """Return the temperature of each of some configurations `(B,)`.

    Args:
        given: One temperature, or one for each configuration.
        num: Number of configurations B.
        like: Tensor that gives device and floating type.

    Raises:
        ValueError: There is another number of temperatures, or one is not positive and finite.
    """
    values = _tensor(given)
    if values.numel() != 1 and values.shape != (num,):
        raise ValueError(
            f"The temperature has the shape {tuple(values.shape)}, but there are {num} configurations: "
            f"pass one number, or an array of the shape ({num},)."
        )
    if values.numel():
        low, high = _ends(values.detach())
        if not 0 < low <= high < math.inf:
            wrong = high if low > 0 else low
            raise ValueError(f"The temperature is {wrong:g}: pass positive, finite numbers.")
    return values.to(like).reshape(-1).expand(num)


def control_values(given: ControlsLike | None, names: Sequence[str], num: int, like: Tensor) -> Tensor:
    """Return the controls of each of some configurations `(B, controls)`.

    Args:
        given: Controls by name, or all of them `(B, controls)`.
        names: Names of the controls.
        num: Number of configurations B.
        like: Tensor that gives device and floating type.

    Raises:
        ValueError: A control is missing or unknown, has another shape, or is not finite.
    """
    listed = ", ".join(names)
    if isinstance(given, Mapping):
        if given.keys() != set(names):
            raise ValueError(
                f"The network sees the controls {listed}, not {', '.join(given) or 'none'}: pass a "
                "value for each of them."
            )
        columns = [_tensor(given[name]) for name in names]
        for name, column in zip(names, columns, strict=True):
            if column.numel() != 1 and column.shape != (num,):
                raise ValueError(
                    f"The control {name} has the shape {tuple(column.shape)}, but there are {num} "
                    f"configurations: pass one number, or an array of the shape ({num},)."
                )
        values = torch.stack([column.to(like).reshape(-1).expand(num) for column in columns], dim=1)
    elif given is None:
        raise ValueError(f"The network sees the controls {listed}: pass a value for each of them.")
    elif given.shape != (num, len(names)):
        raise ValueError(
            f"The controls have the shape {tuple(given.shape)}: pass ({num}, {len(names)}) for {listed}."
        )
    else:
        values = given.to(like)
    if not values.isfinite().all():
        raise ValueError(f"A control is not finite: pass finite numbers for {listed}.")
    return values


def _tensor(given: ConfigurationsLike | TemperatureLike) -> Tensor:
    """Return a floating tensor; a tensor that is one already is returned as it is."""
    if isinstance(given, Tensor) and given.is_floating_point():
        return given
    try:
        if isinstance(given, Tensor):
            if given.is_complex():
                raise TypeError
            return given.to(torch.get_default_dtype())
        array = np.asarray(given)
        if array.dtype.kind not in "biuf":
            raise TypeError
    except (TypeError, ValueError):
        kind = getattr(given, "dtype", type(given).__name__)
        raise ValueError(f"The values are of type {kind}: pass a tensor or array of numbers.") from None
    double = array.dtype == np.float64 and isinstance(given, np.ndarray)
    dtype = torch.float64 if double else torch.get_default_dtype()
    # A copy, because torch warns of arrays that cannot be written and refuses negative strides.
    return torch.from_numpy(np.array(array, np.float64)).to(dtype)


def _ends(values: Tensor) -> tuple[float, float]:
    """Return minimum and maximum, which are NaN if one value is."""
    low, high = values.aminmax()
    return low.item(), high.item()


def _are_sites(values: Tensor, levels: Sequence[int]) -> bool:
    """Return whether all values are levels, or finite if there are no levels, in few passes."""
    if len(levels) == 2:
        middle, distance = sum(levels) / 2, abs(levels[1] - levels[0]) / 2
        return _ends((values - middle if middle else values).abs()) == (distance, distance)
    low, high = _ends(values)
    if not levels or not math.isfinite(high - low):
        return math.isfinite(high - low)
    smallest, largest = min(levels), max(levels)
    step = (largest - smallest) / max(1, len(levels) - 1)
    if sorted(levels) == [smallest + step * k for k in range(len(levels))]:
        steps = (values - smallest) / (step or 1)
        return smallest <= low and high <= largest and torch.equal(steps, steps.round())
    return bool(torch.isin(values, torch.tensor(levels).to(values)).all())


def _fault(name: str, values: Tensor, site_kind: str, levels: Sequence[int]) -> str:
    """Describe the first bad value and the remedy."""
    good = torch.isin(values, torch.tensor(levels).to(values)) if levels else values.isfinite()
    first = int((~good).flatten().int().argmax())
    row, *site = (int(i) for i in np.unravel_index(first, values.shape))
    place = site[0] if len(site) == 1 else tuple(site)
    remedy = "remove or correct that row"
    if levels:
        *others, last = levels if len(levels) <= 16 else (*levels[:3], "…", levels[-1])
        remedy = f"pass {', '.join(map(str, others))} or {last}"
    if site_kind == "spin" and bool(((values == 0) | (values == 1)).all()):
        remedy = "pass 2 * s - 1 in place of s"
    return (
        f"The {name} hold {values.flatten()[first].item():g} in row {row}, site {place} (counted "
        f"from 0), which is no {NAMES[site_kind]}: {remedy}."
    )
