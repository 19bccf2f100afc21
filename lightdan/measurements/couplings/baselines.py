"""What a network explains that simpler models do not."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from lightdan.interactions.fit import LocalFields, fit
from lightdan.interactions.hamiltonian import Operator, SpinHamiltonian
from lightdan.interactions.operators import uniform_operators
from lightdan.measurements.base import Measurement
from lightdan.measurements.couplings.couplings import distance
from lightdan.measurements.couplings.effective_hamiltonian import require_spins
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.figures import DATA, MODEL
from lightdan.measurements.report import Result
from lightdan.progress import progress_bar
from lightdan.simulation.annealing import log_partition
from lightdan.statistics import Estimate, mean

CHAINS = 500
"""Of the annealing."""


class Baselines(Measurement):
    """−⟨ln p⟩ of held-out configurations, for p_θ and for what else one would fit to spins.

    Estimates: `nll`, of the network, `nll_independent`, of sites that are independent, each with its own
    magnetisation, `nll_nearest_neighbour`, of a field and one coupling of nearest neighbours, and
    `nll_pairs`, of a field, all pairs up to a distance and plaquettes, both by pseudo-likelihood of the
    training configurations, with ln Z by annealed importance sampling; and `gain_<baseline>`, the nats a
    configuration by which the network is better, with the error of the differences.

    Args:
        max_distance: Of the pairs of `nll_pairs`.
        num_fitted: Training configurations that are fitted at most.
        seed: Of the annealing.
        every_n_epochs: Measure during training too.
    """

    name = "baselines"

    def __init__(
        self,
        max_distance: float = 4.0,
        num_fitted: int = 20_000,
        seed: int = 0,
        every_n_epochs: int | None = None,
    ) -> None:
        super().__init__(every_n_epochs)
        self.max_distance, self.num_fitted, self.seed = max_distance, num_fitted, seed

    def measure(self, ensemble: Ensemble) -> Result:
        """All NLL and the differences from that of the network."""
        require_spins(ensemble)
        system = ensemble.system
        operators = uniform_operators(
            system.lattice_shape, system.boundary, system.symmetries, self.max_distance
        )
        # Copies of the first rows would hold those of one image only.
        train = system.rows("train", ensemble.temperature).to(ensemble.model.device)
        train = train[:: math.ceil(len(train) / self.num_fitted)]
        up = (
            (train > 0).double().flatten(1).mean(0).clamp(1 / (2 * len(train)), 1 - 1 / (2 * len(train)))
        )
        spins = (ensemble.configurations > 0).double().flatten(1)
        free = -(spins * up.log() + (1 - spins) * (-up).log1p()).sum(1).cpu().numpy()
        bonds = np.concatenate([o.sites for o in operators if o.order == 2 and distance(o) == 1])
        nearest = [operators[0], Operator("nearest neighbours", bonds)]
        terms = {
            "independent": (free, 0.0),
            "nearest_neighbour": self.fitted(ensemble, train, nearest),
            "pairs": self.fitted(ensemble, train, operators),
        }
        estimates = {"nll": mean(-ensemble.log_prob)}
        for name, (values, error) in terms.items():
            of_data = mean(values)
            estimates[f"nll_{name}"] = Estimate(of_data.value, math.hypot(of_data.error, error))
        for name, (values, error) in terms.items():
            gain = mean(values + ensemble.log_prob)
            estimates[f"gain_{name}"] = Estimate(gain.value, math.hypot(gain.error, error))
        return Result(estimates, figure=self.figure(estimates, system.num_sites))

    def fitted(
        self, ensemble: Ensemble, train: Tensor, operators: Sequence[Operator]
    ) -> tuple[np.ndarray, float]:
        """−ln p of the held-out configurations `(M,)`, and the error that they have in common."""
        shape = tuple(ensemble.system.lattice_shape)
        found = fit(LocalFields(operators, math.prod(shape), train.device), train)
        with_couplings = [
            replace(operator, coupling=float(coupling))
            for operator, coupling in zip(operators, found.couplings, strict=True)
        ]
        hamiltonian = SpinHamiltonian(shape, with_couplings, 1.0)
        with progress_bar("Annealing", CHAINS) as advance:
            log_z = log_partition(hamiltonian.moves(), CHAINS, seed=self.seed, progress=advance)
        rows = ensemble.configurations.cpu().numpy()
        return hamiltonian.energy(rows) + log_z.value, log_z.error

    @staticmethod
    def figure(estimates: dict[str, Estimate], num_sites: int) -> Figure:
        """A bar a model, in nats a site."""
        figure = Figure(figsize=(4.5, 2.2), layout="constrained")
        axes = figure.subplots()
        names = [name for name in estimates if name.startswith("nll")]
        labels = ["network", "independent", "nearest neighbours", "pairs and plaquettes"]
        values = np.array([estimates[name] for name in names]) / num_sites
        colours = [MODEL, *[DATA] * (len(names) - 1)]
        axes.barh(labels, values[:, 0], xerr=values[:, 1], color=colours, height=0.6)
        axes.invert_yaxis()
        axes.set_xlabel(r"$-\langle\ln p\rangle/N$", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        return figure
