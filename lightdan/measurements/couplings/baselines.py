"""Likelihoods of simpler models of spins, for comparison with a network."""

import math

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from lightdan.interactions.all_pairs import choose_width, fit_all_pairs
from lightdan.interactions.catalogue import uniform_operators
from lightdan.interactions.fit import fit
from lightdan.interactions.graph_fit import fit_terms
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.operators import Term, nearest_neighbours, operators_of_terms
from lightdan.measurements.base import Measurement
from lightdan.measurements.couplings import likelihood
from lightdan.measurements.couplings.sources import require_spins
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.figures import DATA, MODEL
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate


class Baselines(Measurement):
    """Negative log-likelihoods −⟨ln p⟩ of held-out configurations, for p_θ and simpler models of spins.

    - `nll`: the network.
    - `nll_independent`: independent sites, each with its own magnetisation.
    - `nll_nearest_neighbour`: fields, and couplings of nearest neighbours.
    - `nll_pairs`: fields, all pairs up to a distance, and plaquettes.
    - `gain_<baseline>`: nats per configuration by which the network is better, with the error of the
      paired difference.

    With translations, and in a window of a larger lattice, couplings are uniform. Otherwise each site
    has its own field and each bond its own coupling, and `nll_pairs` contains all pairs, however far,
    with a Gaussian prior whose width held-out configurations choose.

    The last two baselines are pseudo-likelihood fits to the training configurations. Their ln Z is exact
    up to 20 spins, and from annealed importance sampling beyond.

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
        # A stride keeps all images; the first rows may come from one image.
        train = ensemble.system.data.rows("train", ensemble.temperature).to(ensemble.model.device)
        train = train[:: math.ceil(len(train) / self.num_fitted)]
        held_out = ensemble.configurations
        baselines = {"independent": likelihood.of_independent_sites(train, held_out)}
        for name, hamiltonian in self.hamiltonians(ensemble, train).items():
            baselines[name] = likelihood.of_hamiltonian(hamiltonian, held_out, self.seed)
        network = (-ensemble.log_prob, 0.0)
        estimates = {"nll": likelihood.nll(network)}
        estimates |= {f"nll_{name}": likelihood.nll(other) for name, other in baselines.items()}
        estimates |= {
            f"gain_{name}": likelihood.gain(network, other) for name, other in baselines.items()
        }
        losses = likelihood.losses(network, baselines)
        notes = [f"The network loses to {losses} on held-out configurations."] if losses else []
        return Result(estimates, figure=self.figure(estimates, ensemble.system.num_sites), notes=notes)

    def hamiltonians(self, ensemble: Ensemble, train: Tensor) -> dict[str, ExplicitHamiltonian]:
        """Return the fitted Hamiltonians, with couplings in units of the temperature."""
        system = ensemble.system
        shape = system.lattice_shape
        operators = uniform_operators(shape, system.boundary, system.symmetries, self.max_distance)
        bonds = nearest_neighbours(operators)
        if "translation" in system.symmetries or system.boundary == "window":
            chosen = {"nearest_neighbour": [operators[0], bonds], "pairs": operators}
            fields = {
                name: LocalFields(each, system.num_sites, train.device) for name, each in chosen.items()
            }
            return {
                name: ExplicitHamiltonian.from_couplings(shape, each, fit(fields[name], train).couplings)
                for name, each in chosen.items()
            }
        terms: list[Term] = [(site,) for site in range(system.num_sites)]
        terms += [(i, j) for i, j in np.sort(bonds.sites, axis=1).tolist()]
        fits = {
            "nearest_neighbour": fit_terms(train, terms),
            "pairs": fit_all_pairs(train, choose_width(train), errors=False),
        }
        return {
            name: ExplicitHamiltonian.from_couplings(
                shape, operators_of_terms(each.terms), each.values[:, 0]
            )
            for name, each in fits.items()
        }

    @staticmethod
    def figure(estimates: dict[str, Estimate], num_sites: int) -> Figure:
        """Plot one bar per model, in nats per site."""
        figure = Figure(figsize=(4.5, 2.2), layout="constrained")
        axes = figure.subplots()
        labels = {
            "nll": "network",
            "nll_independent": "independent",
            "nll_nearest_neighbour": "nearest neighbours",
            "nll_pairs": "pairs",
        }
        values = np.array([estimates[name] for name in labels]) / num_sites
        colours = [MODEL, *[DATA] * (len(labels) - 1)]
        axes.barh([*labels.values()], values[:, 0], xerr=values[:, 1], color=colours, height=0.6)
        axes.invert_yaxis()
        axes.set_xlabel(r"$-\langle\ln p\rangle/N$", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        return figure
