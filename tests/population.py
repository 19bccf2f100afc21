"""Every registered measurement on ensembles whose true values are known, for tests of its errors."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from gaussian import FREQUENCY, harmonic, oracle
from numpy.typing import NDArray
from oracle import Boltzmann, Oracle

from lightdan import (
    MADE,
    XY,
    Action,
    Correlator,
    DoubleWell,
    FreeEnergy,
    Hamiltonian,
    HelicityModulus,
    ImportanceSampling,
    Ising,
    Kinks,
    Measurement,
    Observables,
    Path,
    Symmetry,
    System,
    Triangular,
    Vortices,
)
from lightdan.measurements.ensemble import Ensemble, Samples
from lightdan.simulation.simulation import Parts
from lightdan.statistics import Blocks, Estimate
from lightdan.testing import all_configurations, randomize

Choice = Callable[[NDArray[np.float64], int], NDArray[np.intp]]
"""Function that chooses a number of rows by their probabilities."""
ROWS, SAMPLES = 200, 1000
"""Numbers of held-out configurations and of samples of the model."""
POPULATION = 20_000
"""Number of configurations that stand for the true distributions."""


@dataclass(frozen=True)
class Case:
    """A measurement and a system on which its true values are known.

    Args:
        measurement: Makes the measurement, given `num_samples`.
        system: Makes the system.
        model: Makes the model of the system.
    """

    measurement: Callable[..., Measurement]
    system: Callable[[], System]
    model: Callable[[System], Any]


def made(system: System, scale: float = 0.05, **kwargs: Any) -> MADE:
    """Return a network with random weights."""
    torch.manual_seed(0)
    return randomize(MADE.for_system(system, width=2, **kwargs), scale=scale).float().eval()


def nearly_exact(system: System, distortion: float = 0.1) -> Oracle:
    """Return the exact distribution of spins at T = 4 with a known error in each logit."""
    return Oracle(temperature=4.0, distortion=distortion, lattice_shape=(3, 3)).double().eval()


def colder(system: System) -> Boltzmann:
    """Return the exact distribution of spins at every temperature, with β too large by a tenth."""
    return Boltzmann(1.1, lattice_shape=(3, 3), temperature_input=True).eval()


def ising() -> System:
    """Return spins on 3 × 3 sites above the transition."""
    return Ising(shape=3, temperature=4.0, num_configurations=400)


def xy() -> System:
    """Return angles on 3 × 3 sites."""
    return XY(shape=3, temperature=8.0, num_configurations=400)


def path() -> System:
    """Return paths in a parabola, in which x has one gap at all times."""
    return harmonic(num_configurations=400)


def quartic() -> System:
    """Return paths in a parabola with a quartic term."""
    potential = [0, 0, FREQUENCY**2 / 2, 0, 0.1]
    return Path(potential=potential, beta=4.0, num_slices=16, num_configurations=400)


def gaussian(system: System) -> Triangular:
    """Return paths in a parabola, a tenth too narrow."""
    return oracle(scale=0.9)


def double_well() -> System:
    """Return paths that often cross a low barrier."""
    return DoubleWell(num_slices=16, beta=6.0, minimum=1.0, num_configurations=400)


CASES = {
    "Hamiltonian, spins": Case(Hamiltonian, ising, nearly_exact),
    "Hamiltonian, angles": Case(Hamiltonian, xy, made),
    "Observables, spins": Case(Observables, ising, nearly_exact),
    "Observables, angles": Case(Observables, xy, made),
    "ImportanceSampling, spins": Case(ImportanceSampling, ising, nearly_exact),
    "ImportanceSampling, angles": Case(ImportanceSampling, xy, made),
    "Symmetry, spins": Case(lambda num_samples: Symmetry(num_samples), ising, nearly_exact),
    "HelicityModulus, angles": Case(HelicityModulus, xy, made),
    "Vortices, angles": Case(Vortices, xy, made),
    "Action, paths": Case(Action, quartic, gaussian),
    "Correlator, paths": Case(partial(Correlator, 0.5), path, gaussian),
    "FreeEnergy, spins": Case(FreeEnergy, ising, colder),
    "Kinks, paths": Case(Kinks, double_well, partial(made, scale=0.2)),
}
"""Cases by the name of the measurement and the kind of site."""
ELSEWHERE = {
    "Baselines": "differences of likelihoods, table of held-out rows",
    "CouplingGraph": "table of couplings",
    "Couplings": "table of couplings",
    "CriticalTemperature": "chains of the learned Hamiltonian; no truth is known",
    "Films": "table of films",
    "ImageSteps": "table of films",
    "PhaseStructure": "chains of an explicit Hamiltonian; tests/measurements/phases",
    "RBMEquivalence": "errors of learning, for which networks are trained; tests/measurements/fields",
    "RenormalizationFlow": "eigenvalues of several systems; tests/measurements/couplings",
}
"""Measurements that the sweep leaves out, and where their errors are tested."""


@dataclass
class Population:
    """Configurations of the true distribution and of the model, with what is known of each.

    All states of a discrete system are there, and are drawn with their exact probabilities. Of a
    continuous one there are many independent rows, which count as the distribution.

    Args:
        case: Measurement, system and model.
    """

    case: Case

    def __post_init__(self) -> None:
        self.system = self.case.system()
        self.system.setup()
        self.temperature = self.system.temperatures[0]
        self.model = self.case.model(self.system)
        base = self.ensemble()
        if self.system.site_kind in ("spin", "level"):
            states = all_configurations(self.system.lattice_shape, self.system.levels)
            self.rows = [states, states]
        else:
            kept = self.system.num_configurations
            self.system.num_configurations = POPULATION
            drawn = self.system.simulate(self.temperature, 1, lambda n: None).configurations
            if isinstance(drawn, Parts):
                drawn = np.concatenate(list(drawn.parts))
            self.system.num_configurations = kept
            model = self.model.sample(POPULATION, 1)
            self.rows = [torch.as_tensor(np.asarray(drawn[:])).to(model), model]
        self.rows = [rows.to(self.model.dtype) for rows in self.rows]
        self.log_prob = [base.evaluate(self.model.log_prob, rows) for rows in self.rows]
        self.action = [base.action_of(rows) for rows in self.rows]
        self.weights = [np.full(len(rows), 1 / len(rows)) for rows in self.rows]
        if self.system.site_kind in ("spin", "level"):
            for number, logs in enumerate((-self.action[0], self.log_prob[1])):
                p = np.exp(logs - logs.max())
                self.weights[number] = p / p.sum()

    def ensemble(self) -> Ensemble:
        """Return an ensemble of the model and the system."""
        return Ensemble(self.model, self.system, self.temperature)

    def drawn(self, choose: Choice, nums: tuple[int, int], seed: int = 0) -> Ensemble:
        """Return an ensemble of chosen rows and samples; the seed is that of the measurement."""
        ensemble = self.ensemble()
        data, samples = (choose(p, num) for p, num in zip(self.weights, nums, strict=True))
        ensemble.configurations = self.rows[0][data]
        ensemble.log_prob, ensemble.action = self.log_prob[0][data], self.action[0][data]
        ensemble.weights = ensemble.controls = None
        ensemble.blocks = Blocks(np.arange(nums[0]), nums[0])
        kept = Samples(ensemble, self.rows[1][samples])
        kept.log_prob, kept.action = self.log_prob[1][samples], self.action[1][samples]
        ensemble.keep(("samples", nums[1], seed), lambda: kept)
        return ensemble

    def values(self, ensemble: Ensemble, num_samples: int, seed: int = 0) -> dict[str, Estimate]:
        """Return estimates by name, without drawing a figure."""
        measurement: Any = self.case.measurement(num_samples=num_samples)
        measurement.seed = seed
        measurement.figure = lambda *args, **kwargs: None
        return dict(measurement.measure(ensemble).estimates)

    @cached_property
    def truth(self) -> dict[str, float]:
        """Values of the whole population, each state as often as its probability says."""

        def evenly(p: NDArray[np.float64], num: int) -> NDArray[np.intp]:
            rows = np.searchsorted(np.cumsum(p), (np.arange(num) + 0.5) / num)
            return np.random.default_rng(0).permutation(rows)

        found = self.values(self.drawn(evenly, (POPULATION, POPULATION)), POPULATION)
        values = {name: estimate[0] for name, estimate in found.items()}
        # Markov chains have the expectation values of reweighted samples, which have less noise.
        return {
            name: values.get(name.removeprefix("metropolis_"), values[name])
            for name in values
            if name.removesuffix("_z") not in values or not name.endswith("_z")
        }

    def pulls(self, seed: int, num_samples: int = SAMPLES) -> dict[str, float]:
        """Return (estimate − truth)/error by name; NaN where the error is withheld."""
        rng = np.random.default_rng([seed, 7])
        ensemble = self.drawn(lambda p, num: rng.choice(len(p), num, p=p), (ROWS, num_samples), seed)
        found = self.values(ensemble, num_samples, seed)
        pulls = {}
        for name, (value, error) in found.items():
            if name in self.truth:
                known = math.isfinite(error) and math.isfinite(value)
                pulls[name] = (value - self.truth[name]) / max(error, 1e-12) if known else math.nan
        return pulls
