"""A Hamiltonian of spins as a small object: operators, couplings, their errors."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lightdan.simulation import heat_bath

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Operator:
    """O(s) = Σ_t Π_{i∈t} s_i, with its coupling J.

    Args:
        name: For tables, like ``pair (0, 1)``.
        sites: The terms t, raster indices `(terms, order)`; no site twice in a term.
        coupling: J, in the units of the temperature.
        error: Standard error of J.
    """

    name: str
    sites: NDArray[np.intp]
    coupling: float = 0.0
    error: float = math.nan

    @property
    def order(self) -> int:
        """Spins in a term: 1 is a field, 2 a pair."""
        return self.sites.shape[1]

    def value(self, configurations: NDArray[Any]) -> NDArray[np.float64]:
        """O of configurations `(M, ...)`: `(M,)`."""
        flat = configurations.reshape(len(configurations), -1)
        total: NDArray[np.float64] = flat[:, self.sites].prod(axis=2, dtype=np.float64).sum(axis=1)
        return total


@dataclass(frozen=True, eq=False)
class SpinHamiltonian:
    """H(s) = −Σ_a J_a O_a(s) of spins s = ±1.

    Args:
        lattice_shape: Numbers of sites along the axes.
        operators: The O_a with their couplings J_a.
        temperature: T at which they were learned; βJ = J/T.

    Example:
        >>> pair = Operator("pair", np.array([[0, 1], [1, 2], [2, 0]]), coupling=1.0)
        >>> SpinHamiltonian((3,), [pair], temperature=2.0).energy(np.array([[1, 1, -1]]))
        array([1.])
    """

    lattice_shape: tuple[int, ...]
    operators: Sequence[Operator]
    temperature: float

    def energy(self, configurations: NDArray[Any]) -> NDArray[np.float64]:
        """H of configurations `(M, *lattice)`: `(M,)`."""
        energy = np.zeros(len(configurations))
        for operator in self.operators:
            energy -= operator.coupling * operator.value(configurations)
        return energy

    def moves(self) -> "heat_bath.Interactions":
        """What a Markov chain needs of it, site by site."""
        return heat_bath.gather(
            math.prod(self.lattice_shape),
            [(operator.sites, operator.coupling) for operator in self.operators],
        )

    def simulate(
        self,
        temperature: float,
        num_configurations: int,
        seed: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> heat_bath.chains.Simulation:
        """Draw from e^{−H/T'}/Z by replica exchange, see `interactions.simulate`."""
        run = heat_bath.simulate(
            self.moves(), temperature, num_configurations, seed=seed, progress=progress
        )
        rows = run.configurations.reshape(-1, *self.lattice_shape)
        return heat_bath.chains.Simulation(rows, run.tau, run.updates_per_configuration)

    def to_json(self) -> str:
        """What `load` reads."""
        content = {
            "format": FORMAT,
            "lattice_shape": list(self.lattice_shape),
            "temperature": self.temperature,
            "operators": [
                {
                    "name": operator.name,
                    "coupling": float(operator.coupling),
                    "error": float(operator.error) if math.isfinite(operator.error) else None,
                    "sites": operator.sites.tolist(),
                }
                for operator in self.operators
            ],
        }
        return json.dumps(content)

    @classmethod
    def load(cls, path: str | Path) -> "SpinHamiltonian":
        """Read a file of `to_json`.

        Raises:
            ValueError: the file is none of these, or a term is no set of sites of the lattice.
        """
        try:
            content = json.loads(Path(path).read_text())
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']}, not {FORMAT}")
            shape = tuple(int(side) for side in content["lattice_shape"])
            operators = [
                Operator(
                    str(entry["name"]),
                    _checked(entry["name"], np.array(entry["sites"]), math.prod(shape)),
                    _finite(entry["name"], entry["coupling"]),
                    math.nan if entry["error"] is None else float(entry["error"]),
                )
                for entry in content["operators"]
            ]
            temperature = _finite("temperature", content["temperature"])
            if temperature <= 0:
                raise ValueError("its temperature is not positive")
        except (OSError, KeyError, TypeError, ValueError) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"{path} is no Hamiltonian written by lightdan: {reason}.") from error
        return cls(shape, operators, temperature)


def edwards_anderson(
    shape: Sequence[int],
    distribution: Literal["binary", "gaussian"] = "binary",
    temperature: float = 1.0,
    seed: int = 0,
) -> SpinHamiltonian:
    """The Edwards–Anderson glass: H = −Σ_<ij> J_ij s_i s_j with random J_ij on a periodic lattice.

    Args:
        shape: Numbers of sites along the axes, at least 3 each.
        distribution: J = ±1 with equal probability, or normal with ⟨J²⟩ = 1.
        temperature: T at which βJ = J/T.
        seed: Of the J.

    Raises:
        ValueError: a side below 3, or another distribution.

    Source: S. Edwards and P. Anderson, J. Phys. F 5, 965 (1975).

    Example:
        >>> len(edwards_anderson((4, 4)).operators)
        32
    """
    if distribution not in ("binary", "gaussian"):
        raise ValueError(f"distribution must be 'binary' or 'gaussian', not {distribution!r}.")
    if min(shape) < 3:
        raise ValueError(f"A periodic glass needs sides of at least 3, not {tuple(shape)}.")
    rng = np.random.default_rng(seed)
    sites = np.arange(math.prod(shape)).reshape(shape)
    bonds = [
        (int(i), int(j))
        for axis in range(sites.ndim)
        for i, j in zip(sites.ravel(), np.roll(sites, -1, axis).ravel(), strict=True)
    ]
    couplings = rng.normal(size=len(bonds))
    if distribution == "binary":
        couplings = np.sign(couplings)
    operators = [
        Operator(f"bond {min(bond)} {max(bond)}", np.sort([bond]), float(coupling))
        for bond, coupling in zip(bonds, couplings, strict=True)
    ]
    return SpinHamiltonian(tuple(shape), operators, temperature)


def _checked(name: str, sites: NDArray[Any], num_sites: int) -> NDArray[np.intp]:
    """The terms of an operator.

    Raises:
        ValueError: they are no sets of sites, or one is there twice.
    """
    if sites.ndim != 2 or not sites.size or sites.dtype.kind != "i":
        raise ValueError(f"the sites of {name} are no list of terms")
    if sites.min() < 0 or sites.max() >= num_sites:
        raise ValueError(f"{name} names a site beyond the {num_sites} of the lattice")
    ordered = np.sort(sites, axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise ValueError(f"{name} has a term with a site twice")
    return sites.astype(np.intp)


def _finite(name: str, value: Any) -> float:
    if not math.isfinite(float(value)):
        raise ValueError(f"{name} is not a finite number")
    return float(value)
