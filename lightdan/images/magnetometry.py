"""The Curie temperature of a film from its saturation magnetisation."""

from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeWarning, curve_fit

from lightdan.statistics import Estimate


class CurieFit(NamedTuple):
    """What M_s(T) = M_s(0) (1 − T/T_C)^b gives.

    Args:
        curie_temperature: T_C.
        magnetization: M_s(0).
        exponent: b, with the error 0 where it was given.
        chi_squared: Σ (residual/error)² over the degrees of freedom; of weights without errors 1.
    """

    curie_temperature: Estimate
    magnetization: Estimate
    exponent: Estimate
    chi_squared: float


def ta_cofeb_taox() -> tuple[np.ndarray, np.ndarray]:
    """T in K and M_s in emu/cc of a Ta/CoFeB/TaOx film.

    Source: L. Wang, ECT* workshop (2024).
    """
    text = files("lightdan.images").joinpath("magnetometry.csv").read_text().splitlines()
    temperature, magnetization = np.loadtxt(text, delimiter=",", skiprows=1, unpack=True)
    return temperature, magnetization


def fit_curie(
    temperature: ArrayLike,
    magnetization: ArrayLike,
    errors: ArrayLike | None = None,
    exponent: float | None = 1 / 3,
    relative: bool = False,
) -> CurieFit:
    """Fit M_s(T) = M_s(0) (1 − T/T_C)^b by least squares.

    Args:
        temperature: T, in any unit.
        magnetization: M_s.
        errors: Standard errors of M_s; where they are not known, the scatter about the curve tells them.
        exponent: b; None fits it, too.
        relative: Whether errors that are not known are the same share of each M_s, instead of the same.

    Raises:
        ValueError: fewer points than parameters and one, values that are not positive and finite, or no
            curve that fits.

    Example:
        >>> found = fit_curie(*ta_cofeb_taox())
        >>> print(found.curie_temperature)
        429(4)
    """
    t, m = np.asarray(temperature, dtype=np.float64), np.asarray(magnetization, dtype=np.float64)
    sigma = None if errors is None else np.asarray(errors, dtype=np.float64)
    for name, values in (("temperature", t), ("magnetization", m), ("errors", sigma)):
        if values is not None and not (
            values.shape == t.shape and np.isfinite(values).all() and (values > 0).all()
        ):
            raise ValueError(f"{name} must be {t.size} positive, finite numbers.")
    free = 2 if exponent is not None else 3
    if t.ndim != 1 or len(t) <= free:
        raise ValueError(f"{t.size} points are too few for {free} parameters and their errors.")

    def curve(t: np.ndarray, curie: float, zero: float, power: float = exponent or 1 / 3) -> np.ndarray:
        m: np.ndarray = zero * np.clip(1 - t / curie, 0.0, None) ** power
        return m

    start = [1.4 * t.max(), 1.2 * m.max(), 1 / 3][:free]
    known = sigma is not None
    weights = sigma if known else (m if relative else None)
    bounds = ([t.max() * (1 + 1e-9), 0.0, 0.0][:free], np.inf)
    try:
        best, covariance = curve_fit(
            curve, t, m, start, weights, absolute_sigma=known, bounds=bounds, x_scale=start
        )
    except (RuntimeError, OptimizeWarning) as error:
        raise ValueError("No curve M_s(0) (1 − T/T_C)^b fits the magnetisation.") from error
    widths = np.sqrt(covariance.diagonal())
    found = [Estimate(float(x), float(dx)) for x, dx in zip(best, widths, strict=True)]
    residual = (m - curve(t, *best)) / (1.0 if weights is None else weights)
    chi = float((residual**2).sum() / (len(t) - free)) if known else 1.0
    power = Estimate(exponent, 0.0) if exponent is not None else found[2]
    return CurieFit(found[0], found[1], power, chi)
