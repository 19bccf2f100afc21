"""Learned action of a path, and its kinetic and potential parts."""

import numpy as np

from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.hamiltonian import Hamiltonian
from lightdan.measurements.report import Result
from lightdan.statistics import Blocks, Estimate, jackknife
from lightdan.systems.path import Path


class Action(Hamiltonian):
    """Learned against true action on held-out paths: slope, KL, ln Z, kinetic and potential part.

    Estimates are those of `Hamiltonian`, and `kinetic` k and `potential` v, ideally both 1, of the
    least-squares plane

        −ln p_θ = k Σ_i (x_{i+1} − x_i)²/2a + v Σ_i a V(x_i) + c.
    """

    name = "action"

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure slope, intercept, R², ln Z, KL, NLL and the coefficients of both parts."""
        system = ensemble.system
        if not isinstance(system, Path):
            raise NotMeasurable(f"{type(system).__name__} has no kinetic and potential action.")
        result = super().measure(ensemble)
        paths = ensemble.configurations.double()
        parts = [
            part(paths, ensemble.temperature).cpu().numpy()
            for part in (system.kinetic, system.potential_action)
        ]
        names = ("kinetic", "potential")
        result.estimates |= dict(
            zip(names, plane(parts, -ensemble.log_prob, ensemble.blocks), strict=True)
        )
        result.arrays |= dict(zip(names, parts, strict=True))
        result.reference = {**result.reference, **dict.fromkeys(names, 1.0)}
        return result


def plane(columns: list[np.ndarray], y: np.ndarray, blocks: Blocks | None = None) -> list[Estimate]:
    """Fit y by the columns and a constant; return the coefficients with jackknife errors."""
    design = np.stack([np.ones_like(y), *(column - column.mean() for column in columns)], axis=1)
    outer = design[:, :, None] * design[:, None, :]
    products = design * (y - y.mean())[:, None]

    def coefficient(index: int) -> Estimate:
        return jackknife(
            lambda xx, xy: float(np.linalg.solve(xx, xy)[index]), outer, products, blocks=blocks
        )

    return [coefficient(index + 1) for index in range(len(columns))]
