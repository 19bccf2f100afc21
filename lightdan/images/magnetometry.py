"""The Curie temperature of a film from its saturation magnetisation."""

from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeWarning, curve_fit

from lightdan.statistics import Estimate


class CurieFit(NamedTuple):
    """Parameters of the fit M_s(T) = M_s(0) (1 − T/T_C)^b.

    Args:
        curie_temperature: Curie temperature T_C.
        magnetization: Saturation magnetisation M_s(0).
        exponent: Exponent b; its error is 0 if it was fixed.
        chi_squared: Σ (residual/error)² per degree of freedom; 1 if the errors are unknown.
    """

    curie_temperature: Estimate
    magnetization: Estimate
    exponent: Estimate
    chi_squared: float


def ta_cofeb_taox() -> tuple[np.ndarray, np.ndarray]:
    """Return T in K and M_s in emu/cc of a Ta/CoFeB/TaOx film.

    References:
        L. Wang, ECT* workshop (2024).
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
        temperature: Temperatures T, in any unit.
        magnetization: Saturation magnetisations M_s.
        errors: Standard errors of M_s; by default they are estimated from the scatter about the curve.
        exponent: Exponent b; None fits it too.
        relative: Whether unknown errors are proportional to M_s instead of equal.

    Raises:
        ValueError: There are too few points, values are not positive and finite, or no curve fits.

    Example:
        >>> fit = fit_curie(*ta_cofeb_taox())
        >>> print(fit.curie_temperature)
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
        raise ValueError(
            f"{t.size} points are too few for {free} parameters and their errors: "
            f"pass at least {free + 1}."
        )

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
    estimates = [Estimate(float(x), float(dx)) for x, dx in zip(best, widths, strict=True)]
    residual = (m - curve(t, *best)) / (1.0 if weights is None else weights)
    chi = float((residual**2).sum() / (len(t) - free)) if known else 1.0
    power = Estimate(exponent, 0.0) if exponent is not None else estimates[2]
    return CurieFit(estimates[0], estimates[1], power, chi)
