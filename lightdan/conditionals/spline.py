"""Splines on the circle, from the library zuko."""

import math
from typing import Any

import torch
from torch import Tensor

from lightdan.conditionals.circular import Angular
from lightdan.lattices.angles import wrap
from lightdan.types import Parameters, SiteValues


class CircularSpline(Angular):
    """Density of a rational-quadratic spline g of the circle, rotated by an angle φ.

        p(θ) = dg/dx,    x = θ − φ

    The density is with respect to dθ/2π. The network returns a vector whose sum with (1, 0) has the
    direction φ, and logarithms of the widths, heights and end slopes of K bins. The first and the last
    slope are equal, so that the density is continuous; slopes are between 1e-3 and 1e3. The density is
    uniform if the network returns zeros.

    Args:
        bins: Number K of bins.

    Raises:
        ValueError: bins is below 1, or zuko (the extra ``spline``) is not installed.

    References:
        D. J. Rezende et al., Normalizing Flows on Tori and Spheres, arXiv:2002.02428.
        C. Durkan et al., Neural Spline Flows, arXiv:1906.04032.

    Example:
        >>> conditional = CircularSpline(bins=4)
        >>> conditional.log_prob(torch.tensor([1.0]), torch.zeros(1, 14)).abs() < 1e-6
        tensor([True])
    """

    min_slope = 1e-3

    def __init__(self, bins: int = 8) -> None:
        if bins < 1:
            raise ValueError(f"CircularSpline needs bins ≥ 1, not bins = {bins}.")
        try:
            import zuko.transforms  # noqa: F401 - so that the error comes before training
        except ImportError as error:
            raise ValueError(
                "CircularSpline needs the library zuko: run pip install 'lightdan[spline]'."
            ) from error
        self.bins = bins
        self.num_parameters = 2 + 3 * bins

    def arguments(self) -> dict[str, Any]:
        """Return the number of bins."""
        return {"bins": self.bins}

    def _spline(self, parameters: Tensor) -> tuple[Tensor, Any]:
        """Return φ and g, which maps [−π, π] onto itself."""
        from zuko.transforms import MonotonicRQSTransform

        vector, widths, heights, slopes = parameters.split([2] + 3 * [self.bins], dim=-1)
        x, y = 1 + vector[..., 0], vector[..., 1]
        is_zero = (x == 0) & (y == 0)
        shift = torch.atan2(y, x.where(~is_zero, 1))
        spline = MonotonicRQSTransform(
            widths, heights, slopes[..., 1:], bound=math.pi, slope=self.min_slope
        )
        # By default zuko sets the slope to 1 at both ends.
        ends = (slopes[..., :1] / (1 + (slopes[..., :1] / math.log(self.min_slope)).abs())).exp()
        spline.derivatives = torch.cat([ends, spline.derivatives[..., 1:-1], ends], dim=-1)
        return shift, spline

    def log_prob(self, values: SiteValues, parameters: Parameters) -> Tensor:
        """Return ln dg/dx."""
        shift, spline = self._spline(parameters)
        x = math.pi - (shift - values).remainder(2 * math.pi)
        first, last = spline.horizontal[..., 0], spline.horizontal[..., -1]
        inside = torch.minimum(torch.maximum(x, first.nextafter(last)), last)
        return spline.call_and_ladj(inside)[1]

    def sample(self, parameters: Tensor, uniforms: Tensor) -> Tensor:
        """Invert g."""
        shift, spline = self._spline(parameters.double())
        x = spline.inv(math.pi * (2 * uniforms.double() - 1))
        return wrap((shift + x - math.pi).to(uniforms.dtype))
