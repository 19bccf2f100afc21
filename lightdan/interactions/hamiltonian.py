"""Explicit Hamiltonians of spins: operators, couplings and their errors."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lightdan.interactions.operators import Operator, operators_of_terms
from lightdan.lattices.geometry import Displacement
from lightdan.simulation import explicit, terms
from lightdan.simulation.simulation import Simulation

FORMAT = 2
"""Version of the files that `SpinHamiltonian.to_json` writes."""


@dataclass(frozen=True, eq=False)
class SpinHamiltonian:
    """An explicit Hamiltonian of spins s = ±1.

        H(s) = −Σ_a J_a O_a(s)

    Args:
        lattice_shape: Numbers of sites along the axes.
        operators: Operators O_a with their couplings J_a.
        temperature: Temperature T at which they were learned; βJ = J/T.

    Example:
        >>> pair = Operator("pair", np.array([[0, 1], [1, 2], [2, 0]]), coupling=1.0)
        >>> SpinHamiltonian((3,), [pair], temperature=2.0).energy(np.array([[1, 1, -1]]))
        array([1.])
    """

    lattice_shape: tuple[int, ...]
    operators: Sequence[Operator]
    temperature: float

    @classmethod
    def from_couplings(
        cls,
        lattice_shape: Sequence[int],
        operators: Sequence[Operator],
        couplings: NDArray[np.float64],
        temperature: float = 1.0,
        errors: NDArray[np.float64] | None = None,
    ) -> "SpinHamiltonian":
        """Return the Hamiltonian of operators with fitted couplings.

        Args:
            lattice_shape: Numbers of sites along the axes.
            operators: Operators O_a.
            couplings: βJ_a `(operators,)`.
            temperature: Temperature T.
            errors: Standard errors of the couplings `(operators,)`, if known.
        """
        errors = np.full(len(couplings), math.nan) if errors is None else errors
        scaled = [
            replace(operator, coupling=float(temperature * value), error=float(temperature * error))
            for operator, value, error in zip(operators, couplings, errors, strict=True)
        ]
        return cls(tuple(lattice_shape), scaled, temperature)

    def energy(self, configurations: NDArray[Any]) -> NDArray[np.float64]:
        """Return H of configurations: `(M, *lattice)` → `(M,)`."""
        energy = np.zeros(len(configurations))
        for operator in self.operators:
            energy -= operator.coupling * operator.value(configurations)
        return energy

    def moves(self) -> terms.Interactions:
        """Return the terms sorted by site, as the simulation needs them."""
        groups = [
            terms.Terms(operator.sites, (1,) * operator.order, operator.coupling)
            for operator in self.operators
        ]
        return terms.gather("spin", math.prod(self.lattice_shape), groups)

    def simulate(
        self,
        temperature: float,
        num_configurations: int,
        seed: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> Simulation:
        """Draw configurations from e^{−H/T'}/Z.

        Args:
            temperature: Temperature T' of the simulation.
            num_configurations: Number of configurations M.
            seed: Random seed.
            progress: Function called with the number of new configurations.
        """
        run = explicit.simulate(
            self.moves(), temperature, num_configurations, seed=seed, progress=progress
        )
        rows = run.configurations.reshape(-1, *self.lattice_shape)
        return Simulation(rows, run.tau, run.updates_per_configuration)

    def to_json(self) -> str:
        """Return the content of a file that `load` reads."""
        content = {
            "format": FORMAT,
            "lattice_shape": list(self.lattice_shape),
            "temperature": self.temperature,
            "operators": [
                {
                    "name": operator.name,
                    "displacement": operator.displacement and list(operator.displacement),
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
        """Read a file with the content of `to_json`.

        Raises:
            ValueError: The file is damaged, of another format, or names sites beyond the lattice.
        """
        try:
            content = json.loads(Path(path).read_text())
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']}, not {FORMAT}; measure it again")
            shape = tuple(int(side) for side in content["lattice_shape"])
            operators = [_operator(entry, shape) for entry in content["operators"]]
            temperature = _finite("temperature", content["temperature"])
            if temperature <= 0:
                raise ValueError("its temperature is not positive")
        except (OSError, KeyError, TypeError, ValueError) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"{path} cannot be read as a Hamiltonian: {reason}.") from error
        return cls(shape, operators, temperature)


def edwards_anderson(
    shape: Sequence[int],
    distribution: Literal["binary", "gaussian"] = "binary",
    temperature: float = 1.0,
    seed: int = 0,
) -> SpinHamiltonian:
    """Draw an Edwards–Anderson glass on a periodic lattice.

        H = −Σ_<ij> J_ij s_i s_j,  J_ij independent random numbers

    Args:
        shape: Numbers of sites along the axes, at least 3 each.
        distribution: Distribution of J: ``binary``, ±1 with equal probability, or ``gaussian``, normal
            with ⟨J²⟩ = 1.
        temperature: Temperature T; βJ = J/T.
        seed: Random seed of the couplings.

    Raises:
        ValueError: A side is shorter than 3, or the distribution is unknown.

    References:
        S. Edwards and P. Anderson, J. Phys. F 5, 965 (1975).

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
        (min(i, j), max(i, j))
        for axis in range(sites.ndim)
        for i, j in zip(sites.ravel().tolist(), np.roll(sites, -1, axis).ravel().tolist(), strict=True)
    ]
    couplings = rng.normal(size=len(bonds))
    if distribution == "binary":
        couplings = np.sign(couplings)
    operators = [
        replace(operator, coupling=float(coupling))
        for operator, coupling in zip(operators_of_terms(bonds), couplings, strict=True)
    ]
    return SpinHamiltonian(tuple(shape), operators, temperature)


def _operator(entry: dict[str, Any], shape: tuple[int, ...]) -> Operator:
    """Return the operator that an entry of a file describes.

    Raises:
        KeyError, TypeError, ValueError: The entry is damaged.
    """
    name = str(entry["name"])
    sites = _checked_sites(name, np.array(entry["sites"]), math.prod(shape))
    displacement: Displacement | None = None
    if entry["displacement"] is not None:
        displacement = tuple(int(step) for step in entry["displacement"])
        if len(displacement) != len(shape) or sites.shape[1] != 2:
            raise ValueError(f"the displacement of {name} does not fit its pairs and the lattice")
    return Operator(
        name,
        sites,
        _finite(name, entry["coupling"]),
        math.nan if entry["error"] is None else float(entry["error"]),
        displacement,
    )


def _checked_sites(name: str, sites: NDArray[Any], num_sites: int) -> NDArray[np.intp]:
    """Return the terms of an operator.

    Raises:
        ValueError: The sites are not terms of one order, are beyond the lattice, or repeat in a term.
    """
    if sites.ndim != 2 or not sites.size or sites.dtype.kind != "i":
        raise ValueError(f"the sites of {name} are not a list of terms of equal length")
    if sites.min() < 0 or sites.max() >= num_sites:
        raise ValueError(f"{name} names a site beyond the {num_sites} of the lattice")
    ordered = np.sort(sites, axis=1)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        raise ValueError(f"{name} has a term with a site twice")
    return sites.astype(np.intp)


def _finite(name: str, value: Any) -> float:
    """Return a number from a file.

    Raises:
        ValueError: The value is not finite.
    """
    if not math.isfinite(float(value)):
        raise ValueError(f"{name} is not a finite number")
    return float(value)
