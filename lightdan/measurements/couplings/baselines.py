"""Likelihoods of simpler models, for comparison with a network."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from lightdan.checks import check_integer, check_number, check_seed
from lightdan.interactions.all_pairs import choose_width, fit_all_pairs
from lightdan.interactions.catalogue import UniformLattice, uniform_operators
from lightdan.interactions.fit import Undetermined, fit
from lightdan.interactions.gaussian import best_normal
from lightdan.interactions.graph_fit import GraphFit, fit_terms
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.observations import Observations
from lightdan.interactions.operators import (
    Operator,
    Term,
    nearest_neighbours,
    operators_of_terms,
)
from lightdan.interactions.pairwise import pairwise
from lightdan.interactions.regressions import Sites, best_regression
from lightdan.measurements.base import Measurement
from lightdan.measurements.couplings import likelihood
from lightdan.measurements.couplings.effective_hamiltonian import field_range
from lightdan.measurements.couplings.likelihood import Likelihood, Unknown
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import DATA, MODEL
from lightdan.measurements.report import Result
from lightdan.simulation.terms import Interactions
from lightdan.statistics import Estimate
from lightdan.systems.base import System

TITLES = {
    "independent": "independent sites",
    "nearest_neighbour": "nearest neighbours with fields",
    "linear": "the linear regression on the sites before (class_path: Triangular)",
    "pairs": "the Hamiltonian of pairs (Couplings or CouplingGraph writes it)",
    "all_pairs": "the Hamiltonian of all pairs, each with its own coupling (CouplingGraph)",
}
"""Names of the models in sentences."""
LABELS = {"nearest_neighbour": "nearest neighbours", "all_pairs": "all pairs"}
"""Names of the models in the figure, if they differ from those of the estimates."""
MOST_INPUTS = 2_048
"""Largest number of inputs of a regression."""
NEAR = 2.0
"""Largest distance of a pair of a uniform lattice of other sites than spins."""
CONDITIONALS = 1e6
"""Largest number of conditionals of such sites to which uniform couplings are fitted."""
FREELY_FITTED = 60
"""Number of uniform couplings above which fewer conditionals are used, because the time is quadratic."""
CONDITIONALS_PER_COUPLING = 20
"""Number of conditionals per coupling below which there is no fit."""


class Baselines(Measurement):
    """Negative log-likelihoods −⟨ln p⟩ of held-out configurations, for p_θ and simpler models.

    - `nll`: the network.
    - `nll_independent`: independent sites, each with its own distribution: frequencies of spins and
      levels, a histogram of each angle (in the measure dθ/2π), a normal distribution of each field.
    - `nll_nearest_neighbour`: fields, and couplings of nearest neighbours, for spins only.
    - `nll_linear`: regression of each site on the sites before it, fitted to its minimum: logistic for
      spins, softmax for levels, von Mises for angles, linear for fields. The width of its Gaussian prior
      makes held-out training configurations most likely.
    - `nll_pairs`, `nll_all_pairs`: fields and pairs.
    - `gain_<baseline>`: nats per configuration by which the network is better, with the error of the
      paired difference.

    With translations, and in a window of a larger lattice, couplings of `pairs` are uniform. Spins have
    pairs up to a distance and plaquettes, other sites the default operators of `Couplings` up to a
    distance of 2. Spins also have `all_pairs`, each with its own coupling and a Gaussian prior chosen in
    the same way. Elsewhere these are the `pairs`. For fields they are the linear regression, and left
    out.

    Couplings are those of pseudo-likelihood. For spins, levels and angles all are multiplied by the one
    factor that makes the training configurations most likely.

    ln Z of the pairs is exact up to 20 spins. Beyond, it is Bennett's ratio of configurations of the
    network and of the pairs if these overlap, and from annealed importance sampling if they do not.
    Where that takes too long or fails, a note says so. If the network is not better than every simpler
    model, a note recommends the simplest of the best.

    Args:
        max_distance: Largest distance of a pair of a uniform lattice of spins in `nll_pairs`, in lattice
            constants.
        num_fitted: Largest number of training configurations used in the fits.
        seed: Random seed of the annealing and of the simulations.
        every_n_epochs: Number of epochs between measurements on validation data; by default none.
    """

    name = "baselines"
    takes_weights = True

    def __init__(
        self,
        max_distance: float = 4.0,
        num_fitted: int = 20_000,
        seed: int = 0,
        every_n_epochs: int | None = None,
    ) -> None:
        super().__init__(every_n_epochs)
        self.max_distance = check_number("max_distance", max_distance, 0, math.inf)
        self.num_fitted = check_integer("num_fitted", num_fitted, 2)
        self.seed = check_seed("seed", seed)

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure all NLL and their differences from the NLL of the network."""
        data, device = ensemble.system.data, ensemble.model.device
        train, held_out = (
            Observations(
                data.rows(split, ensemble.temperature).to(device),
                None if weights is None else weights.to(device),
            )
            for split in ("train", ensemble.split)
            for weights in (data.weights(split, ensemble.temperature),)
        )
        # A stride keeps all images; the first rows may come from one image.
        train = train.every(math.ceil(len(train.rows) / self.num_fitted))
        baselines, notes = self.baselines(ensemble, train, held_out)
        blocks = ensemble.blocks
        baselines = {name: other._replace(blocks=blocks) for name, other in baselines.items()}
        network = Likelihood(-ensemble.log_prob, 0.0, ensemble.weights, blocks)
        estimates = {"nll": network.nll}
        estimates |= {f"nll_{name}": other.nll for name, other in baselines.items()}
        estimates |= {f"gain_{name}": network.gain_over(other) for name, other in baselines.items()}
        notes.insert(0, verdict(network, baselines))
        return Result(estimates, figure=self.figure(estimates, ensemble.system.num_sites), notes=notes)

    def baselines(
        self, ensemble: Ensemble, train: Observations, held_out: Observations
    ) -> tuple[dict[str, Likelihood], list[str]]:
        """Return the likelihoods of the simpler models, simplest first, and sentences on those withheld.

        Args:
            ensemble: Model, data and temperature.
            train: Configurations to which the models are fitted.
            held_out: Configurations that are predicted.

        Raises:
            NotMeasurable: A field never changes.
        """
        system = ensemble.system
        sites = system.site_kind, system.levels
        try:
            found = {"independent": likelihood.of_independent_sites(train, held_out, *sites)}
        except ValueError as reason:
            raise NotMeasurable(str(reason)) from reason
        hamiltonians = self.hamiltonians(ensemble, train)
        names = ["independent", "nearest_neighbour", "linear", "pairs", "all_pairs"]
        if is_uniform(system):
            names = ["independent", "nearest_neighbour", "pairs", "linear", "all_pairs"]
        notes = []
        for name in names[1:]:
            try:
                if name == "linear":
                    found[name] = linear(train, held_out, *sites)
                elif name in hamiltonians:
                    interactions = hamiltonians[name]()
                    likeliest = likelihood.likeliest(interactions, train, system.levels, self.seed)
                    found[name] = likelihood.of_interactions(
                        likeliest, held_out, *sites, self.seed, ensemble
                    )
            except Unknown as reason:
                notes.append(f"The NLL of {TITLES[name]} is withheld, because {reason}.")
            except Undetermined as reason:
                notes.append(f"The NLL of {TITLES[name]} is withheld. {reason}")
        return found, notes

    def hamiltonians(
        self, ensemble: Ensemble, train: Observations
    ) -> dict[str, Callable[[], Interactions]]:
        """Return functions that fit Hamiltonians, with couplings in units of the temperature."""
        system = ensemble.system
        symmetries = system.symmetries
        if system.site_kind != "spin":
            sites = system.site_kind, system.levels
            if not is_uniform(system):
                if system.site_kind == "real":
                    return {}
                return {"pairs": partial(pairs_of_each_site, train, Sites(*sites))}
            low, high = (0.0, 1.0) if system.levels else field_range(train.rows)
            lattice = UniformLattice(system.lattice, symmetries, NEAR, *sites, low, high)
            operators = lattice.operators()
            return {"pairs": partial(uniform, system, operators, train)}
        operators = uniform_operators(system.lattice, symmetries, self.max_distance)
        bonds = nearest_neighbours(operators)
        every_pair = partial(all_pairs, system, train)
        if is_uniform(system):
            return {
                "nearest_neighbour": partial(uniform, system, [operators[0], bonds], train),
                "pairs": partial(uniform, system, operators, train),
                "all_pairs": every_pair,
            }
        terms: list[Term] = [(site,) for site in range(system.num_sites)]
        terms += [(i, j) for i, j in np.sort(bonds.sites, axis=1).tolist()]
        neighbours = partial(fit_terms, train.rows, terms, weights=train.weights)
        return {
            "nearest_neighbour": lambda: of_graph(system.lattice_shape, neighbours()),
            "pairs": every_pair,
        }

    @staticmethod
    def figure(estimates: dict[str, Estimate], num_sites: int) -> Figure:
        """Plot one bar per model, in nats per site."""
        figure = Figure(figsize=(4.5, 2.2), layout="constrained")
        axes = figure.subplots()
        names = [name.removeprefix("nll_") for name in estimates if name.startswith("nll_")]
        labels = ["network", *(LABELS.get(name, name) for name in names)]
        chosen = [estimates["nll"], *(estimates[f"nll_{name}"] for name in names)]
        values = np.array(chosen) / num_sites
        colours = [MODEL, *[DATA] * len(names)]
        axes.barh(labels, values[:, 0], xerr=values[:, 1], color=colours, height=0.6)
        axes.invert_yaxis()
        axes.set_xlabel(r"$-\langle\ln p\rangle/N$", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        return figure


def is_uniform(system: System) -> bool:
    """Return whether couplings are the same everywhere."""
    return "translation" in system.symmetries or system.boundary == "window"


def linear(
    train: Observations, held_out: Observations, site_kind: str, levels: tuple[int, ...]
) -> Likelihood:
    """Return −ln p of the linear regression of each site on the sites before it.

    Args:
        train: Configurations to which it is fitted, with weights.
        held_out: Configurations with weights.
        site_kind: Kind of site: ``spin``, ``level``, ``angle`` or ``real``.
        levels: Values of a discrete site.

    Raises:
        Unknown: There are too many sites or levels.
    """
    sites = Sites(site_kind, levels)
    check_inputs(train, sites)
    if site_kind == "real":
        log_p = best_normal(train).log_prob(held_out.rows)
    else:
        log_p = best_regression(train, sites, before=True).log_prob(held_out.rows)
    return Likelihood(-log_p, 0.0, likelihood.weights_of(held_out))


def check_inputs(train: Observations, sites: Sites) -> None:
    """Raise Unknown if a regression has too many inputs."""
    inputs = sites.num_features * train.rows[0].numel()
    if inputs > MOST_INPUTS:
        raise Unknown(f"a regression with {inputs:,} inputs takes too long")


def of_graph(shape: tuple[int, ...], graph: GraphFit) -> Interactions:
    """Return the Hamiltonian of fitted terms of spins, with couplings in units of the temperature."""
    operators = operators_of_terms(graph.terms)
    return ExplicitHamiltonian.from_couplings(shape, operators, graph.values[:, 0]).moves()


def pairs_of_each_site(train: Observations, sites: Sites) -> Interactions:
    """Return the Hamiltonian of all pairs of levels or angles, from regressions on all other sites.

    Raises:
        Unknown: There are too many sites or levels.
    """
    check_inputs(train, sites)
    num = train.rows[0].numel()
    likelihood.num_chains((len(sites.levels) or 1) * num * (num - 1))
    return pairwise(best_regression(train, sites, before=False))


def all_pairs(system: System, train: Observations) -> Interactions:
    """Return the Hamiltonian of all fields and pairs of spins, fitted by pseudo-likelihood."""
    likelihood.num_chains(system.num_sites * (system.num_sites - 1))
    width = choose_width(*train)
    graph = fit_all_pairs(train.rows, width, errors=False, weights=train.weights)
    return of_graph(system.lattice_shape, graph)


def uniform(system: System, operators: Sequence[Operator], train: Observations) -> Interactions:
    """Return the Hamiltonian with uniform couplings of operators, fitted by pseudo-likelihood.

    Raises:
        Unknown: There are too many operators.
        Undetermined: The configurations leave a coupling undetermined.
    """
    num, sites = len(operators), (system.site_kind, system.levels)
    if system.site_kind != "spin":
        conditionals = CONDITIONALS * min(1.0, (FREELY_FITTED / num) ** 2)
        if conditionals < CONDITIONALS_PER_COUPLING * num:
            raise Unknown(f"the fit of {num} uniform couplings takes too long")
        train = train.every(math.ceil(len(train.rows) * system.num_sites / conditionals))
    fields = LocalFields(operators, system.num_sites, train.rows.device, None, *sites)
    couplings = fit(fields, train.rows, weights=train.weights).couplings
    return ExplicitHamiltonian.from_couplings(
        system.lattice_shape, operators, couplings, site_kind=sites[0], levels=sites[1]
    ).moves()


def verdict(network: Likelihood, baselines: dict[str, Likelihood]) -> str:
    """Return a sentence on whether the network is better, and on the model to prefer if it is not.

    Args:
        network: Likelihood of the network.
        baselines: Likelihoods of simpler models, simplest first.
    """
    best = min(baselines, key=lambda name: baselines[name].nll.value)
    gain = network.gain_over(baselines[best])
    if not math.isfinite(gain.error):
        return (
            "The held-out configurations are too few, or too correlated, to compare the network with "
            "simpler models."
        )
    if gain.value > 2 * gain.error:
        return f"The network is better than every simpler model, by {gain} nats than {TITLES[best]}."
    for name, other in baselines.items():
        behind = other.gain_over(baselines[best])
        if behind.value >= -2 * behind.error:
            best = name
            break
    gain = network.gain_over(baselines[best])
    if gain.value < -2 * gain.error:
        size = Estimate(-gain.value, gain.error)
        return (
            f"The network loses to {TITLES[best]}, by {size} nats per configuration: "
            "use that simpler model."
        )
    return (
        f"The network is no better than {TITLES[best]}: the difference is {gain} nats per "
        "configuration. Prefer that simpler model."
    )
