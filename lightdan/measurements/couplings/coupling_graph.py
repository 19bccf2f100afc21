"""Couplings of a learned Hamiltonian without translation symmetry, like a glass."""

import math

import numpy as np
from matplotlib.figure import Figure
from torch.nn import functional as F

from lightdan.interactions.operators import Term, operators_of_terms
from lightdan.interactions.search import TermSearch
from lightdan.lattices.geometry import coordinates, plaquettes
from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.couplings.effective_hamiltonian import (
    EffectiveHamiltonian,
    all_configurations,
    local_logits,
    require_spins,
)
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import EXACT, MODEL, panels
from lightdan.measurements.report import Result
from lightdan.progress import progress_bar
from lightdan.statistics import Estimate

UNEXPLAINED = 3.0
"""Significance, in standard errors, of the advantage of H_θ at a site that counts as unexplained."""
EXAMINED_SITES = 16
"""Largest number of sites at which products of spins are searched."""


class CouplingGraph(SampledMeasurement):
    """Terms t and couplings βJ_t of a disordered Hamiltonian of spins.

        H = −Σ_t J_t Π_{i∈t} s_i

    `TermSearch` finds fields, bonds and plaquettes in all configurations by pseudo-likelihood. It then
    searches for products of three and four spins at sites where H_θ explains held-out spins better than
    the terms do. `EffectiveHamiltonian` determines the couplings of the terms. Couplings that noise
    alone could cause are not found.

    - `rms_bond`: √⟨(βJ)²⟩ over the bonds.
    - `network_rms_deviation`: root-mean-square deviation of the network's projection from the couplings.
    - `product_<sites>` and `product_<sites>_network`: each product, like `product_35_89_180_221`.
    - `explained_single_site` and `explained_multi_site`: as in `Couplings`.

    The Hamiltonian is written to ``coupling_graph/hamiltonian.json``. The arrays are `sites` and, with
    errors, `couplings`, `network` (the projection alone) and `pseudo_likelihood`, `(terms, 2)`.

    Args:
        num_samples: Number of network samples, and largest number of held-out configurations.
        kwargs: Arguments of `SampledMeasurement`: seed, every_n_epochs.
    """

    name = "coupling_graph"

    def __init__(self, num_samples: int = 3_000, **kwargs: object) -> None:
        super().__init__(num_samples=num_samples, **kwargs)  # type: ignore[arg-type]

    def measure(self, ensemble: Ensemble) -> Result:
        """Find the terms, measure their couplings and write the Hamiltonian."""
        require_spins(ensemble)
        system = ensemble.system
        terms, num_unexplained = self.find_terms(ensemble)
        effective = EffectiveHamiltonian(
            ensemble, operators_of_terms(terms), self.num_samples, self.seed
        )
        corrected, operators = effective.corrected, effective.operators
        orders = np.array([operator.order for operator in operators])
        bonds = orders == 2
        arrays = {
            "sites": np.array([[*term, *[-1] * (orders.max() - len(term))] for term in terms]),
            "couplings": np.stack([corrected.couplings, corrected.errors], 1),
            "network": np.stack([corrected.network.couplings, corrected.network_errors], 1),
            "pseudo_likelihood": np.stack(
                [corrected.pseudo.couplings, corrected.pseudo.standard_errors], 1
            ),
        }
        estimates: dict[str, Estimate] = {}
        if bonds.any():
            estimates |= bond_estimates(arrays["couplings"][bonds], arrays["network"][bonds, 0])
        for operator, coupling, network in zip(
            operators, arrays["couplings"], arrays["network"], strict=True
        ):
            if operator.order > 2:
                estimates[operator.name] = Estimate(*coupling)
                estimates[f"{operator.name}_network"] = Estimate(*network)
        fields, products = (orders == 1).sum(), (orders > 2).sum()
        notes = [f"Terms found: {fields} of one spin, {bonds.sum()} of two and {products} of more."]
        if num_unexplained:
            notes.append(
                f"H_θ explains {num_unexplained} of {system.num_sites} sites better than these terms do."
            )
        return Result(
            estimates | effective.explained(),
            arrays,
            self.figure(arrays, system.lattice_shape),
            notes=notes,
            attachments={"hamiltonian.json": effective.hamiltonian.to_json()},
        )

    def find_terms(self, ensemble: Ensemble) -> tuple[list[Term], int]:
        """Return the significant terms, and the number of sites that they leave unexplained.

        Raises:
            NotMeasurable: No term is significant.
        """
        corners = plaquettes(ensemble.system.lattice_shape, ensemble.system.boundary)
        search = TermSearch(all_configurations(ensemble), corners)
        held_out = ensemble.configurations[: self.num_samples]
        spins = held_out.flatten(1).double()
        learned = F.logsigmoid(spins * local_logits(ensemble, held_out))

        def unexplained(search: TermSearch) -> list[int]:
            """Return the sites that H_θ explains significantly better than the terms, worst first."""
            couplings = np.array(list(search.couplings.values()))
            gain = learned - F.logsigmoid(spins * search.fields.logits(held_out, couplings))
            z = gain.mean(0) / (gain.std(0) / len(gain) ** 0.5)
            return [site for site in z.argsort(descending=True).tolist() if z[site] > UNEXPLAINED]

        with progress_bar("Searching for couplings", None) as advance:
            search.find(advance)
            if search.find_products(unexplained, EXAMINED_SITES, advance):
                search.find(advance)
        if not search.terms:
            raise NotMeasurable("No field, bond or product of spins is significant.")
        return search.terms, len(unexplained(search))

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], lattice_shape: tuple[int, ...]) -> Figure:
        """Plot the bonds on the lattice, and the network's couplings against the estimates."""
        figure, (left, right) = panels(2)
        places = positions(lattice_shape)
        bonds = (arrays["sites"] >= 0).sum(1) == 2
        values = arrays["couplings"][:, 0]
        largest = np.abs(values[bonds]).max(initial=1e-12)
        seen = set()
        for (i, j), value in zip(arrays["sites"][bonds][:, :2], values[bonds], strict=True):
            sign = value > 0
            text = None if sign in seen else (r"$J > 0$" if sign else r"$J < 0$")
            seen.add(sign)
            for line in bond_lines(places[[i, j]], lattice_shape):
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


def bond_estimates(couplings: np.ndarray, network: np.ndarray) -> dict[str, Estimate]:
    """Return the size of the bonds' couplings and the network's deviation from them.

    Args:
        couplings: βJ with errors `(bonds, 2)`.
        network: βJ of the network alone `(bonds,)`.
    """
    values, errors = couplings.T
    square = max(0.0, float((values**2 - errors**2).mean()))
    error = float(np.sqrt((values**2 * errors**2).sum())) / len(values)
    deviation = float(np.sqrt(((network - values) ** 2).mean()))
    return {
        "rms_bond": Estimate(math.sqrt(square), error / math.sqrt(square or 1.0)),
        "network_rms_deviation": Estimate(deviation, deviation / math.sqrt(2 * len(values))),
    }


def positions(lattice_shape: tuple[int, ...]) -> np.ndarray:
    """Return rows and columns of the sites `(N, 2)`; a chain becomes a circle."""
    if len(lattice_shape) == 2:
        return coordinates(lattice_shape)
    turn = 2 * math.pi * np.arange(lattice_shape[0]) / lattice_shape[0]
    return np.stack([np.sin(turn), np.cos(turn)], axis=1)


def bond_lines(ends: np.ndarray, lattice_shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return the lines `(2, 2)` that show a bond between two positions `(2, 2)`.

    A bond across the periodic boundary of a rectangle becomes two stubs.
    """
    step = ends[1] - ends[0]
    if len(lattice_shape) == 1:
        return [ends]
    shortest = step - np.round(step / lattice_shape) * lattice_shape
    if np.allclose(step, shortest):
        return [ends]
    return [np.stack([ends[0], ends[0] + shortest / 2]), np.stack([ends[1], ends[1] - shortest / 2])]
