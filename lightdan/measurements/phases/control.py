"""The quantity against which a phase structure is measured: T, or a factor of some couplings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.measurements.ensemble import NotMeasurable
from lightdan.systems.base import System

TEMPERATURE = "temperature"
RANGE = np.linspace(0.85, 1.35, 11)
"""T'/T at which the phase structure is measured by default."""


@dataclass(frozen=True, eq=False)
class Control:
    """A quantity λ whose values λ' change H.

    The temperature divides H. Any other λ multiplies the scaled terms H_s of H = H_s + H_r:

        H/T → (λ'/λ) H_s/T + H_r/T = H_s/T' + H_r/T,  T' = T λ/λ'

    Args:
        name: Name of λ.
        present: Value λ of the data.
        temperature: Temperature T of the data.
        scaled: Whether each operator belongs to H_s `(operators,)`; None for all of them.
        exact: Whether the couplings of H_s are set by λ' itself, so that they have no error.
    """

    name: str
    present: float
    temperature: float
    scaled: NDArray[np.bool_] | None = None
    exact: bool = False

    def values(self) -> list[float]:
        """Return 11 values λ' around λ."""
        return sorted(self.at(factor * self.temperature) for factor in RANGE.tolist())

    def at(self, temperature: float) -> float:
        """Return λ' that belongs to T'."""
        if self.scaled is None:
            return temperature
        return self.present * self.temperature / temperature

    def temperatures(self, values: Sequence[float]) -> list[float]:
        """Return the T' of values λ', in the same order.

        Raises:
            NotMeasurable: The present value is 0, or a value has the other sign.
        """
        if self.scaled is None:
            return list(values)
        if not all(value * self.present > 0 for value in values):
            raise NotMeasurable(
                f"The terms of {self.name} are scaled from its present value {self.present:.4g}, so all "
                f"values need the same sign and none may be 0: change values, not {list(values)}."
            )
        return [self.temperature * self.present / value for value in values]


def temperature_control(temperature: float) -> Control:
    """Return T as the control."""
    return Control(TEMPERATURE, temperature, temperature)


def find_control(name: str, system: System, hamiltonian: ExplicitHamiltonian) -> Control:
    """Return the control of a name.

    Args:
        name: ``temperature``, a parameter of the system, or an operator.
        system: System, which declares its parameters.
        hamiltonian: Explicit Hamiltonian.

    Raises:
        NotMeasurable: There is no such control.
    """
    temperature = hamiltonian.temperature
    if name == TEMPERATURE:
        return temperature_control(temperature)
    names = [operator.name for operator in hamiltonian.operators]
    if name in system.controls:
        scaled = np.isin(names, system.controls[name])
        if not scaled.any():
            raise NotMeasurable(
                f"{name} multiplies {system.controls[name][0]}, which is not fitted: add its entry to "
                "operators."
            )
        return Control(name, getattr(system, name), temperature, scaled)
    if name in names:
        index = names.index(name)
        present = hamiltonian.operators[index].coupling / temperature
        return Control(name, present, temperature, np.arange(len(names)) == index, exact=True)
    known = ", ".join([TEMPERATURE, *system.controls, *names])
    raise NotMeasurable(f"There is no control {name!r}: use one of {known}.")
