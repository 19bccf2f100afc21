"""Likelihoods of simpler models of spins, for comparison with a network."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from lightdan.interactions.catalogue import uniform_operators
from lightdan.interactions.fit import fit
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.operators import Operator, nearest_neighbours
from lightdan.measurements.base import Measurement
from lightdan.measurements.couplings.effective_hamiltonian import require_spins
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.figures import DATA, MODEL
from lightdan.measurements.report import Result
from lightdan.progress import progress_bar
from lightdan.simulation.annealing import log_partition
from lightdan.statistics import Estimate, mean

CHAINS = 500
"""Number of annealed chains."""


class Baselines(Measurement):
    """Negative log-likelihoods −⟨ln p⟩ of held-out configurations, for p_θ and simpler models of spins.

    - `nll`: the network.
    - `nll_independent`: independent sites, each with its own magnetisation.
    - `nll_nearest_neighbour`: a field and one coupling of nearest neighbours.
    - `nll_pairs`: a field, all pairs up to a distance, and plaquettes.
    - `gain_<baseline>`: nats per configuration by which the network is better, with the error of the
      paired difference.

    The last two baselines are pseudo-likelihood fits to the training configurations. Their ln Z comes
    from annealed importance sampling.

    Args:
        max_distance: Largest distance of a pair in `nll_pairs`, in lattice constants.
        num_fitted: Largest number of training configurations used in the fits.
        seed: Random seed of the annealing.
        every_n_epochs: Number of epochs between measurements on validation data; by default none.
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
        """Measure all NLL and their differences from the NLL of the network."""
        require_spins(ensemble)
        system = ensemble.system
        operators = uniform_operators(
            system.lattice_shape, system.boundary, system.symmetries, self.max_distance
        )
        # A stride keeps all images; the first rows may come from one image.
        train = system.data.rows("train", ensemble.temperature).to(ensemble.model.device)
        train = train[:: math.ceil(len(train) / self.num_fitted)]
        up = (
            (train > 0).double().flatten(1).mean(0).clamp(1 / (2 * len(train)), 1 - 1 / (2 * len(train)))
        )
        spins = (ensemble.configurations > 0).double().flatten(1)
        independent = -(spins * up.log() + (1 - spins) * (-up).log1p()).sum(1).cpu().numpy()
        field, bonds = operators[0], nearest_neighbours(operators)
        baselines = {
            "independent": (independent, 0.0),
            "nearest_neighbour": self.negative_log_prob(ensemble, train, [field, bonds]),
            "pairs": self.negative_log_prob(ensemble, train, operators),
        }
        estimates = {"nll": mean(-ensemble.log_prob)}
        for name, (values, error) in baselines.items():
            nll = mean(values)
            estimates[f"nll_{name}"] = Estimate(nll.value, math.hypot(nll.error, error))
        for name, (values, error) in baselines.items():
            gain = mean(values + ensemble.log_prob)
            estimates[f"gain_{name}"] = Estimate(gain.value, math.hypot(gain.error, error))
        losses = [
            f"{name} (by {Estimate(-gain.value, gain.error)} nats)"
            for name in baselines
            if (gain := estimates[f"gain_{name}"]).value < -2 * gain.error
        ]
        notes = (
            [f"The network loses to {', '.join(losses)} on held-out configurations."] if losses else []
        )
        return Result(estimates, figure=self.figure(estimates, system.num_sites), notes=notes)

    def negative_log_prob(
        self, ensemble: Ensemble, train: Tensor, operators: Sequence[Operator]
    ) -> tuple[np.ndarray, float]:
        """Fit operators to training data and evaluate held-out configurations.

        Returns:
            −ln p of the held-out configurations `(M,)`, and the error of ln Z, which they share.
        """
        shape = ensemble.system.lattice_shape
        result = fit(LocalFields(operators, math.prod(shape), train.device), train)
        hamiltonian = ExplicitHamiltonian.from_couplings(shape, operators, result.couplings)
        with progress_bar("Annealing", CHAINS) as advance:
            log_z = log_partition(hamiltonian.moves(), CHAINS, seed=self.seed, progress=advance)
        rows = ensemble.configurations.cpu().numpy()
        return hamiltonian.energy(rows) + log_z.value, log_z.error

    @staticmethod
    def figure(estimates: dict[str, Estimate], num_sites: int) -> Figure:
        """Plot one bar per model, in nats per site."""
        figure = Figure(figsize=(4.5, 2.2), layout="constrained")
        axes = figure.subplots()
        labels = {
            "nll": "network",
            "nll_independent": "independent",
            "nll_nearest_neighbour": "nearest neighbours",
            "nll_pairs": "pairs and plaquettes",
        }
        values = np.array([estimates[name] for name in labels]) / num_sites
        colours = [MODEL, *[DATA] * (len(labels) - 1)]
        axes.barh([*labels.values()], values[:, 0], xerr=values[:, 1], color=colours, height=0.6)
        axes.invert_yaxis()
        axes.set_xlabel(r"$-\langle\ln p\rangle/N$", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        return figure
