"""Thermodynamic quantities that exact solutions return."""

from typing import NamedTuple


class Thermodynamics(NamedTuple):
    """Thermodynamics of a whole lattice (totals, not per site), with k_B = 1.

    Args:
        log_partition: Logarithm ln Z of the partition function.
        free_energy: Free energy F = −T ln Z, in units of J.
        energy: Energy E = −∂ ln Z/∂β, in units of J.
        specific_heat: Heat capacity C = ∂E/∂T = β² ∂² ln Z/∂β².
        entropy: Entropy S = ln Z + βE, in nats.
    """

    log_partition: float
    free_energy: float
    energy: float
    specific_heat: float
    entropy: float
