"""What exact solutions give."""

from typing import NamedTuple


class Thermodynamics(NamedTuple):
    """Totals of the whole lattice (not per site), with k_B = 1.

    Args:
        log_partition: ln Z.
        free_energy: F = −T ln Z, in the units of J.
        energy: E = −∂ ln Z/∂β, in the units of J.
        specific_heat: C = ∂E/∂T = β² ∂² ln Z/∂β².
        entropy: S = ln Z + βE, in nats.
    """

    log_partition: float
    free_energy: float
    energy: float
    specific_heat: float
    entropy: float
