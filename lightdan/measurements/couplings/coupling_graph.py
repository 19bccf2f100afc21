"""Couplings of a learned Hamiltonian without translation symmetry, like a glass."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from lightdan.data.splits import SPLITS
from lightdan.interactions.all_pairs import WIDTHS, fit_all_pairs
from lightdan.interactions.choice import Choice, choose
from lightdan.interactions.graph_fit import GraphFit, fit_terms
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.observations import Observations
from lightdan.interactions.operators import operators_of_terms
from lightdan.interactions.search import TermSearch
from lightdan.lattices.geometry import plaquettes
from lightdan.lattices.lattice import Lattice
from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.couplings import continuous_graph, likelihood
from lightdan.measurements.couplings.likelihood import Likelihood, Unknown
from lightdan.measurements.couplings.projection import explained_share
from lightdan.measurements.couplings.sources import (
    all_configurations,
    all_weights,
    local_logits,
    require_spins,
)
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import EXACT, MODEL, panels
from lightdan.measurements.report import Result
from lightdan.progress import progress_bar
from lightdan.statistics import Estimate, effective_number

UNEXPLAINED = 3.0
"""Significance, in standard errors, of the advantage of H_θ at a site that counts as unexplained."""
EXAMINED_SITES = 16
"""Largest number of sites at which products of spins are searched."""
OBLIQUE = (0.3, 0.4)
"""Step in a figure along the third axis of a lattice."""
NAMED = 5
"""Largest number of terms or sites that a note names."""


class CouplingGraph(SampledMeasurement):
    """Terms t and couplings βJ_t of a disordered Hamiltonian of spins, angles or fields.

        H = −Σ_t J_t Π_{i∈t} s_i

    `TermSearch` finds bonds and plaquettes in all configurations, beside the fields of all sites. It
    then searches for products of three and four spins at sites where H_θ explains held-out spins better
    than the terms do. Couplings that noise alone could cause are not found. There are no fields if the
    system declares the symmetry ``z2`` and no field is significant.

    Many small couplings are not significant one by one. Hence all pairs with a Gaussian prior are fitted
    as well, and chosen if their held-out pseudo-likelihood is higher by more than two errors.

    - `rms_bond`: √⟨(βJ)²⟩ over the bonds.
    - `network_rms_deviation`: root-mean-square deviation of the network's projection from the couplings.
    - `product_<sites>` and `product_<sites>_network`: each product, like `product_35_89_180_221`.
    - `explained_single_site` and `explained_multi_site`: as in `Couplings`.
    - `nll`: −⟨ln p⟩ of held-out configurations under these terms, with couplings fitted to the others.
      ln Z is exact up to 20 spins, and from annealed importance sampling beyond.
    - `nll_independent`, `nll_pseudo_likelihood`, `nll_network`: the same of independent sites, each with
      its own rate, of all pairs, and of the network.

    The couplings come from the pseudo-likelihood of all configurations, see `fit_terms`. The Hamiltonian
    is written to ``coupling_graph/hamiltonian.json``. The arrays are `sites` and, with errors,
    `couplings` and `network`, the projection of H_θ alone, `(terms, 2)`. An error is NaN where the
    configurations give only a bound.

    Angles have pairs K_ij cos(θ_i − θ_j − A_ij), fields have pairs J_ij φ_i φ_j beside powers of each
    field. `find_pairs` finds them by score matching, and `EffectiveHamiltonian` fits them. The arrays
    `couplings` and `network` are then K or J, and `couplings_phase` and `network_phase` are A, in
    radians; the Hamiltonian is judged by its own simulation as in `Couplings`.

    Args:
        num_samples: Number of network samples, and largest number of held-out configurations that H_θ
            explains.
        kwargs: Arguments of `SampledMeasurement`: seed, every_n_epochs.
    """

    name = "coupling_graph"
    takes_weights = True

    def __init__(self, num_samples: int = 3_000, **kwargs: object) -> None:
        super().__init__(num_samples=num_samples, **kwargs)  # type: ignore[arg-type]

    def measure(self, ensemble: Ensemble) -> Result:
        """Find the terms, measure their couplings and write the Hamiltonian."""
        if ensemble.system.site_kind in ("angle", "real"):
            return continuous_graph.measure(ensemble, self.num_samples, self.seed)
        require_spins(ensemble)
        system = ensemble.system
        rows, weights = all_configurations(ensemble), all_weights(ensemble)
        search, num_unexplained = self.find_terms(ensemble, rows, weights)
        with progress_bar("Choosing between a graph and all pairs", None) as advance:
            choice = choose(search, rows, weights, advance)
        if choice.all_pairs:
            with progress_bar("Fitting all pairs", system.num_sites) as advance:
                fit = fit_all_pairs(
                    rows, choice.width, search.block_size, weights=weights, progress=advance
                )
        elif search.terms:
            fit = search.fit(rows, weights)
        else:
            raise NotMeasurable("No field, bond or product of spins is significant.")
        network, explained = self.project(ensemble, fit, choice)
        orders = np.array([len(term) for term in fit.terms])
        arrays = {
            "sites": np.array([[*term, *[-1] * (orders.max() - len(term))] for term in fit.terms]),
            "couplings": fit.values,
            "network": network,
        }
        bonds = orders == 2
        estimates: dict[str, Estimate] = {}
        if bonds.any():
            estimates |= bond_estimates(fit.values[bonds], network[bonds, 0])
        operators = operators_of_terms(fit.terms)
        for operator, coupling, projected in zip(operators, fit.values, network, strict=True):
            if operator.order > 2:
                estimates[operator.name] = Estimate(*coupling)
                estimates[f"{operator.name}_network"] = Estimate(*projected)
        fields, products = (orders == 1).sum(), (orders > 2).sum()
        notes = [
            f"Terms found: {fields} of one spin, {bonds.sum()} of two and {products} of more.",
            str(choice),
            *notes_on_bounds(search, fit),
        ]
        if num_unexplained and not choice.all_pairs:
            notes.append(
                f"H_θ explains {num_unexplained} of {system.num_sites} sites better than these terms do."
            )
        likelihoods, losses = self.likelihoods(ensemble, search, choice)
        notes += losses
        hamiltonian = ExplicitHamiltonian.from_couplings(
            system.lattice_shape, operators, fit.values[:, 0], ensemble.temperature, fit.values[:, 1]
        )
        return Result(
            estimates | explained | likelihoods,
            arrays,
            self.figure(arrays, system.lattice),
            notes=notes,
            attachments={"hamiltonian.json": hamiltonian.to_json()},
        )

    def find_terms(
        self, ensemble: Ensemble, rows: Tensor, weights: Tensor | None
    ) -> tuple[TermSearch, int]:
        """Search for the terms, and count the sites that they leave unexplained.

        Raises:
            NotMeasurable: No spin changes.
        """
        system = ensemble.system
        search = TermSearch(
            rows,
            plaquettes(system.lattice),
            "z2" in system.symmetries,
            system.block_size(ensemble.temperature),
            weights,
        )
        if not search.free:
            raise NotMeasurable(f"No spin changes in any of the {len(rows)} configurations.")
        held_out = ensemble.configurations[: self.num_samples]
        w = None if ensemble.weights is None else ensemble.weights[: self.num_samples]
        spins = held_out.flatten(1).double()
        learned = F.logsigmoid(spins * local_logits(ensemble, held_out))

        def unexplained(search: TermSearch) -> list[int]:
            """Return the sites that H_θ explains significantly better than the terms, worst first."""
            explicit = search.fit(rows, weights).logits(held_out)
            gain = (learned - F.logsigmoid(spins * explicit)).cpu().numpy()
            square = np.average((gain - np.average(gain, axis=0, weights=w)) ** 2, axis=0, weights=w)
            num = len(gain) if w is None else effective_number(w)
            z = np.average(gain, axis=0, weights=w) / np.maximum(np.sqrt(square / num), 1e-12)
            return [site for site in np.argsort(-z).tolist() if z[site] > UNEXPLAINED]

        with progress_bar("Searching for couplings", None) as advance:
            search.find(advance)
            if search.find_products(unexplained, EXAMINED_SITES, advance):
                search.find(advance)
        return search, len(unexplained(search))

    def project(
        self, ensemble: Ensemble, fit: GraphFit, choice: Choice
    ) -> tuple[np.ndarray, dict[str, Estimate]]:
        """Project H_θ onto the terms, on samples of the network.

        Returns:
            βJ of the projection with sampling errors `(terms, 2)`, and the shares of the variance of
            H_θ's differences that it explains, as in `Couplings`.
        """
        samples = ensemble.samples(self.num_samples, self.seed).configurations
        logits = local_logits(ensemble, samples)
        targets = torch.sigmoid(logits)
        if choice.all_pairs:
            projection = fit_all_pairs(samples, WIDTHS[-1], targets=targets)
        else:
            projection = fit_terms(samples, fit.terms, targets)
        generator = torch.Generator().manual_seed(self.seed)
        flipped = torch.rand(*logits.shape, generator=generator).argsort(1)[:, :4].to(samples.device)
        changed = samples.flatten(1).clone()
        changed.scatter_(1, flipped, -changed.gather(1, flipped))
        pair = (changed.reshape(samples.shape), samples)
        hamiltonian = ExplicitHamiltonian.from_couplings(
            ensemble.system.lattice_shape, operators_of_terms(fit.terms), projection.values[:, 0]
        )
        energies = [hamiltonian.energy(s.cpu().numpy()) for s in pair]
        learned = [-ensemble.evaluate(ensemble.model.log_prob, s) for s in pair]
        return projection.values, {
            "explained_single_site": explained_share(logits, projection.logits(samples)),
            "explained_multi_site": explained_share(
                torch.as_tensor(learned[0] - learned[1])[:, None],
                torch.as_tensor(energies[0] - energies[1])[:, None],
            ),
        }

    def likelihoods(
        self, ensemble: Ensemble, search: TermSearch, choice: Choice
    ) -> tuple[dict[str, Estimate], list[str]]:
        """Return −⟨ln p⟩ of held-out configurations, and a sentence if a simpler model is better."""
        system, weights = ensemble.system, ensemble.weights
        held_out = Observations(
            ensemble.configurations, None if weights is None else torch.as_tensor(weights)
        )
        data = system.data
        parts = [
            Observations(
                data.rows(name, ensemble.temperature).to(held_out.rows.device),
                data.weights(name, ensemble.temperature),
            )
            for name in SPLITS
            if name != ensemble.split
        ]
        train = parts[0].join(parts[1])
        notes = []
        likelihoods = {
            "independent": likelihood.of_independent_sites(train, held_out, "spin", (-1, 1)),
            "network": Likelihood(-ensemble.log_prob, 0.0, weights),
        }
        all_pairs = fit_all_pairs(train.rows, choice.width, errors=False, weights=train.weights)
        fits = {"pseudo_likelihood": all_pairs}
        if not choice.all_pairs:
            fits["own"] = search.fit(*train)
        for name, fit in fits.items():
            hamiltonian = ExplicitHamiltonian.from_couplings(
                system.lattice_shape, operators_of_terms(fit.terms), fit.values[:, 0]
            )
            try:
                likelihoods[name] = likelihood.of_hamiltonian(hamiltonian, held_out, self.seed)
            except Unknown as reason:
                title = "this Hamiltonian" if name == "own" else "all pairs"
                notes.append(f"The NLL of {title} is withheld, because {reason}.")
        likelihoods = {name: each._replace(blocks=ensemble.blocks) for name, each in likelihoods.items()}
        own = likelihoods.pop("pseudo_likelihood" if choice.all_pairs else "own", None)
        if choice.all_pairs and own is not None:
            likelihoods["pseudo_likelihood"] = own
        estimates = {} if own is None else {"nll": own.nll}
        estimates |= {f"nll_{name}": other.nll for name, other in likelihoods.items()}
        losses = "" if own is None else own.losses(likelihoods)
        if losses:
            notes.append(
                f"This Hamiltonian loses to {losses} on held-out configurations: something is missing "
                "in it."
            )
        return estimates, notes

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], lattice: Lattice) -> Figure:
        """Plot the bonds on the lattice, and the network's couplings against the estimates."""
        figure, (left, right) = panels(2)
        places = positions(lattice)
        bonds = (arrays["sites"] >= 0).sum(1) == 2
        values = arrays["couplings"][:, 0]
        largest = np.abs(values[bonds]).max(initial=1e-12)
        seen = set()
        for (i, j), value in zip(arrays["sites"][bonds][:, :2], values[bonds], strict=True):
            sign = value > 0
            text = None if sign in seen else (r"$J > 0$" if sign else r"$J < 0$")
            seen.add(sign)
            for line in bond_lines(places[[i, j]], lattice):
                width = 2.5 * abs(value) / largest
                colour = MODEL if sign else EXACT
                left.plot(line[:, 1], line[:, 0], "-", lw=width, color=colour, label=text)
                text = None
        left.set(aspect="equal", xticks=[], yticks=[])
        left.spines[:].set_visible(False)
        if seen:
            left.legend(frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0))
        ends = np.array([values.min(), values.max()])
        network, error = arrays["network"].T
        right.plot(ends, ends, "-", lw=1, color=EXACT)
        right.errorbar(
            values, network, error, arrays["couplings"][:, 1], fmt=".", ms=3, lw=0.7, color=MODEL
        )
        right.set(xlabel=r"$\beta J$", ylabel=r"$\beta J$ of the network alone")
        return figure


def notes_on_bounds(search: TermSearch, fit: GraphFit) -> list[str]:
    """Return sentences on the terms that the configurations do not determine."""
    notes = []
    if reasons := [tie.reason for tie in search.left_out.values()]:
        notes.append(f"Couplings are undetermined and only bounded: {listed(reasons, '; ')}.")
    if bounded := [operator.name for operator in operators_of_terms(fit.bounded)]:
        notes.append(
            f"Only a bound is known of {listed(bounded)}: one combination of the spins is never seen."
        )
    return notes


def listed(words: Sequence[str], separator: str = ", ") -> str:
    """Return the first words and the number of the others."""
    more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
    return separator.join(itertools.islice(words, NAMED)) + more


def bond_estimates(couplings: np.ndarray, network: np.ndarray) -> dict[str, Estimate]:
    """Return the size of the bonds' couplings and the network's deviation from them.

    Args:
        couplings: βJ with errors `(bonds, 2)`.
        network: βJ of the network alone `(bonds,)`.
    """
    known = np.isfinite(couplings[:, 1])
    if not known.any():
        return {}
    values, errors = couplings[known].T
    network = network[known]
    square = max(0.0, float((values**2 - errors**2).mean()))
    error = float(np.sqrt((values**2 * errors**2).sum())) / len(values)
    deviation = float(np.sqrt(((network - values) ** 2).mean()))
    return {
        "rms_bond": Estimate(math.sqrt(square), error / math.sqrt(square or 1.0)),
        "network_rms_deviation": Estimate(deviation, deviation / math.sqrt(2 * len(values))),
    }


def positions(lattice: Lattice) -> np.ndarray:
    """Return positions of the sites in a figure `(N, 2)`; a chain or a graph becomes a circle."""
    if len(lattice.cells) == 1:
        turn = 2 * math.pi * np.arange(lattice.num_sites) / lattice.num_sites
        return np.stack([np.sin(turn), np.cos(turn)], axis=1)
    oblique = np.zeros((len(lattice.cells), 2))
    oblique[:2] = np.eye(2)
    oblique[2:] = OBLIQUE
    return lattice.positions @ oblique


def bond_lines(ends: np.ndarray, lattice: Lattice) -> list[np.ndarray]:
    """Return the lines `(2, 2)` that show a bond between two positions `(2, 2)`.

    A bond across the periodic boundary of a plane becomes two stubs.
    """
    if len(lattice.cells) != 2:
        return [ends]
    step = ends[1] - ends[0]
    torus = np.array(lattice.cells)[:, None] * np.array(lattice.vectors)
    shortest = step - np.round(step @ np.linalg.inv(torus)) @ torus
    if np.allclose(step, shortest):
        return [ends]
    return [np.stack([ends[0], ends[0] + shortest / 2]), np.stack([ends[1], ends[1] - shortest / 2])]
