"""Simulation of a fitted Hamiltonian, compared with the data and with the network."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from lightdan.images import structure_factor as spectra
from lightdan.interactions.catalogue import CATALOGUE, UniformLattice
from lightdan.interactions.films import simulate_film
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.observations import Observations
from lightdan.measurements.couplings.likelihood import Likelihood, Unknown, bridge, of_hamiltonian
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.observables import series, two_point
from lightdan.measurements.report import Result
from lightdan.measurements.table import Reference
from lightdan.progress import progress_bar
from lightdan.simulation.films import windows
from lightdan.simulation.simulation import Simulation
from lightdan.statistics import Bound, Estimate, mean
from lightdan.systems.base import System

DIFFERENT = 4.0
"""Deviation, in standard errors, of an observable that the Hamiltonian does not describe."""
MAX_SPACING = 64
"""Largest number of updates between two configurations; it bounds the time."""
FILMS, SIDE = 4, 256
"""Number of films that are cut into windows, and their least sides."""


@dataclass(eq=False)
class OwnSimulation:
    """Configurations that a fitted Hamiltonian produces by itself, beside data and network.

    A window of a film of spins is compared with the windows of large films that were cooled slowly from
    disorder, other windows with those of a periodic lattice of twice the sides.

    Args:
        ensemble: Model, data and temperature.
        hamiltonian: Fitted Hamiltonian.
        num_configurations: Number of simulated configurations.
        seed: Random seed.
    """

    ensemble: Ensemble
    hamiltonian: ExplicitHamiltonian
    num_configurations: int
    seed: int

    @property
    def window(self) -> bool:
        """Whether the lattice is a window of a larger one."""
        return self.ensemble.system.boundary == "window"

    @cached_property
    def simulation(self) -> Simulation:
        """Simulation of the Hamiltonian, of a film for a window."""
        hamiltonian = self._film() if self.window else self.hamiltonian
        with progress_bar("Simulating the couplings", self.num_configurations) as advance:
            return hamiltonian.simulate(
                hamiltonian.temperature, self.num_configurations, self.seed, advance, MAX_SPACING
            )

    @cached_property
    def configurations(self) -> Tensor:
        """Simulated configurations `(M, *lattice)`."""
        if self.window and self.hamiltonian.site_kind == "spin" and is_plane(self.ensemble.system):
            rows = self._windows()
        else:
            window = (slice(None), *(slice(side) for side in self.hamiltonian.lattice_shape))
            rows = np.ascontiguousarray(self.simulation.configurations[window])
        data = self.ensemble.configurations
        return torch.as_tensor(rows).to(data.device, data.dtype)

    def _windows(self) -> np.ndarray:
        """Return windows of large films side by side `(M, *lattice)`."""
        rows, columns = self.hamiltonian.lattice_shape
        side = max(SIDE, 2 * rows, 2 * columns)
        parts = []
        with progress_bar("Simulating the couplings", FILMS) as advance:
            for number in range(FILMS):
                rng = np.random.default_rng([self.seed, number])
                spins = simulate_film(self.hamiltonian, (side, side), rng).spins
                parts.append(windows(spins, (rows, columns)))
                advance(1)
        return np.concatenate(parts)

    def _film(self) -> ExplicitHamiltonian:
        """Return the Hamiltonian of a periodic lattice of twice the sides."""
        system = self.ensemble.system
        cells = tuple(2 * side for side in system.lattice.cells)
        periodic = replace(system.lattice, cells=cells, boundary="periodic")
        reach = max((o.distance for o in self.hamiltonian.operators if o.displacement), default=1.0)
        lattice = UniformLattice(periodic, system.symmetries, reach, system.site_kind, system.levels)
        names = [name for name in CATALOGUE[system.site_kind] if name != "potential"]
        sites = {operator.name: operator.sites for operator in lattice.operators(names)}
        every = np.arange(periodic.num_sites).reshape(-1, 1)
        operators = [
            replace(operator, sites=sites.get(operator.name, every))
            for operator in self.hamiltonian.operators
        ]
        return replace(self.hamiltonian, lattice_shape=periodic.shape, operators=operators)

    def likelihood(self) -> Likelihood:
        """Return −ln p of the held-out data; ln Z of angles and fields is Bennett's ratio.

        With configurations of both the Hamiltonian and the network, the ratio is more accurate than
        annealing.

        Raises:
            Unknown: ln Z is not known.
        """
        ensemble, weights = self.ensemble, self.ensemble.weights
        held_out = Observations(
            ensemble.configurations, None if weights is None else torch.as_tensor(weights)
        )
        if ensemble.system.levels:
            found = of_hamiltonian(self.hamiltonian, held_out, self.seed)
            return found._replace(blocks=ensemble.blocks)
        samples = ensemble.samples(self.num_configurations, self.seed)
        own = self.configurations
        log_weights = -self._action(samples.configurations) - samples.log_prob
        log_z = bridge(ensemble, own, self._action(own), log_weights)
        if log_z is None:
            raise Unknown("its simulation misses configurations of the network that have weight")
        if not math.isfinite(log_z.error):
            raise Unknown("its configurations and the network's do not overlap")
        values = self._action(ensemble.configurations) + log_z.value
        return Likelihood(values, log_z.error, weights, ensemble.blocks)

    def _action(self, configurations: Tensor) -> np.ndarray:
        energy: np.ndarray = self.hamiltonian.energy(configurations.cpu().numpy())
        return energy / self.hamiltonian.temperature

    def add_to(self, result: Result) -> None:
        """Add observables, C(r), S(k) and likelihoods of the simulation to a result, and notes."""
        rows = {
            "own": self.configurations,
            "network": self.ensemble.samples(self.num_configurations, self.seed).configurations,
            "data": self.ensemble.configurations,
        }
        options = {"data": (self.ensemble.weights, self.ensemble.blocks)}
        values = {
            source: {
                name: mean(x, *options.get(source, ()))
                for name, x in series(self.ensemble, configurations).items()
            }
            for source, configurations in rows.items()
        }
        reference: dict[str, Reference] = {**result.reference}
        different = []
        for name, own in values["own"].items():
            data = values["data"][name]
            result.estimates[f"own_{name}"] = own
            reference[f"own_{name}"] = data
            if abs(own.value - data.value) > DIFFERENT * math.hypot(own.error, data.error):
                different.append(f"{name.replace('_', ' ')} {own} instead of {data}")
        functions: dict[str, Callable[[Tensor], np.ndarray]] = {
            "correlation": partial(two_point, self.ensemble)
        }
        shape, kind = self.hamiltonian.lattice_shape, self.hamiltonian.site_kind
        if is_plane(self.ensemble.system) and min(shape) >= 4 and kind != "angle":
            functions["structure_factor"] = structure_factor
        for quantity, function in functions.items():
            columns = {source: function(configurations) for source, configurations in rows.items()}
            for source, column in columns.items():
                result.arrays[f"{source}_{quantity}"] = np.array(
                    [mean(x, *options.get(source, ())) for x in column.T]
                )
            own_values, errors = result.arrays[f"own_{quantity}"].T
            data_values, data_errors = result.arrays[f"data_{quantity}"].T
            worst = int(np.abs(own_values - data_values).argmax())
            deviation = (
                abs(own_values - data_values)[worst],
                math.hypot(errors[worst], data_errors[worst]),
            )
            name = f"own_{quantity}_max_deviation"
            result.estimates[name] = Estimate(*map(float, deviation))
            reference[name] = Bound(0.0, "≥")
        result.reference = reference
        if different:
            result.notes.append(
                "The Hamiltonian's own simulation differs from the held-out data: "
                f"{'; '.join(different)}."
            )
        if not self.window:
            self._add_likelihood(result)

    def is_bounded(self, result: Result) -> bool:
        """Return whether the Hamiltonian can be simulated; if not, a note says why."""
        try:
            _ = self.configurations
        except ValueError as reason:
            result.notes.append(f"The Hamiltonian cannot be simulated. {reason}")
            return False
        return True

    def _add_likelihood(self, result: Result) -> None:
        try:
            own = self.likelihood()
        except Unknown as reason:
            result.notes.append(f"The likelihood of the Hamiltonian is not known, because {reason}.")
            return
        network = Likelihood(-self.ensemble.log_prob, 0.0, own.weights, own.blocks)
        gain = network.gain_over(own)
        result.estimates |= {"nll": own.nll, "gain_network": gain}
        if gain.value > 2 * gain.error:
            result.notes.append(
                f"Held-out data prefer the network to the Hamiltonian by {gain} nats per configuration."
            )


def structure_factor(configurations: Tensor) -> np.ndarray:
    """Return S(k) of each configuration of a plane of spins, levels or fields `(M, k)`."""
    return spectra.structure_factor(configurations.cpu().numpy())[1]


def is_plane(system: System) -> bool:
    """Return whether the sites form a rectangle of square cells."""
    return len(system.lattice_shape) == 2 and system.lattice.is_hypercubic
