"""The couplings of a learned Hamiltonian that is not uniform: a glass."""

import math

import numpy as np
from matplotlib.figure import Figure
from torch.nn import functional as F

from lightdan.interactions.operators import plaquettes
from lightdan.interactions.search import TermSearch, operators_of_terms
from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.couplings.effective_hamiltonian import (
    EffectiveHamiltonian,
    all_configurations_of,
    local_logits,
    require_spins,
)
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import EXACT, MODEL, panels
from lightdan.measurements.report import Result
from lightdan.progress import progress_bar
from lightdan.statistics import Estimate

UNEXPLAINED = 3.0
"""Standard errors by which H_θ must explain a spin better than the terms do."""
LOOKS = 16
"""Sites at which products of spins are looked for."""


class CouplingGraph(SampledMeasurement):
    """βJ_t of H = −Σ_t J_t Π_{i∈t} s_i for spins of any couplings: which terms t there are, and J.

    `TermSearch` finds the terms in all configurations: fields, bonds and plaquettes by
    pseudo-likelihood, step by step; then products of three and four spins anywhere, at the sites where
    H_θ explains held-out spins better than the terms found so far, as with all pairs there only
    something of more spins can. Their couplings are those of `EffectiveHamiltonian`, and go to
    ``coupling_graph/hamiltonian.json`` with standard errors, and to the arrays `sites`, `couplings`,
    `network` (what the network alone says) and `pseudo_likelihood`, `(terms, 2)` with errors.
    Estimates: `rms_bond`, √⟨(βJ)²⟩ over the bonds; `network_rms_deviation`, of what the network alone
    says from the couplings; each product, like `product_35_89_180_221`; and how much of H_θ the terms
    explain, as in `Couplings`.
    Couplings so weak that noise alone would make them are not found.

    Args:
        num_samples: Of the network for the projection, and at most so many held-out configurations.
        kwargs: Of `SampledMeasurement`: seed, every_n_epochs.
    """

    name = "coupling_graph"

    def __init__(self, num_samples: int = 3_000, **kwargs: object) -> None:
        super().__init__(num_samples=num_samples, **kwargs)  # type: ignore[arg-type]

    def measure(self, ensemble: Ensemble) -> Result:
        """The terms with couplings and errors, and the Hamiltonian that they make."""
        require_spins(ensemble)
        system = ensemble.system
        search = TermSearch(
            all_configurations_of(ensemble), plaquettes(system.lattice_shape, system.boundary)
        )
        held_out = ensemble.configurations[: self.num_samples]
        spins = held_out.flatten(1).double()
        learned = F.logsigmoid(spins * local_logits(ensemble, held_out))

        def unexplained(search: TermSearch) -> list[int]:
            couplings = np.array(list(search.couplings.values()))
            gain = learned - F.logsigmoid(spins * search.fields.logits(held_out, couplings))
            z = gain.mean(0) / (gain.std(0) / len(gain) ** 0.5)
            return [site for site in z.argsort(descending=True).tolist() if z[site] > UNEXPLAINED]

        with progress_bar("Searching for couplings", None) as advance:
            search.find(advance)
            if search.find_products(unexplained, LOOKS, advance):
                search.find(advance)
        if not search.terms:
            raise NotMeasurable("no field, bond or product of spins is significant")
        found = EffectiveHamiltonian(
            ensemble, operators_of_terms(search.terms), self.num_samples, self.seed
        )
        orders = np.array([len(term) for term in search.terms], dtype=int)
        bonds = orders == 2
        estimates: dict[str, Estimate] = {}
        network = np.stack([found.network.couplings, found.network_errors], 1)
        if bonds.any():
            values, errors = found.couplings[bonds], found.errors[bonds]
            square = max(0.0, float((values**2 - errors**2).mean()))
            error = float(np.sqrt((values**2 * errors**2).sum())) / len(values)
            estimates["rms_bond"] = Estimate(math.sqrt(square), error / math.sqrt(square or 1.0))
            deviation = float(np.sqrt(((network[bonds, 0] - values) ** 2).mean()))
            estimates["network_rms_deviation"] = Estimate(
                deviation, deviation / math.sqrt(2 * len(values))
            )
        for index in np.nonzero(orders > 2)[0]:
            name = "_".join(["product", *map(str, search.terms[index])])
            estimates[name] = Estimate(found.couplings[index], found.errors[index])
            estimates[f"{name}_network"] = Estimate(*network[index])
        pseudo = found.pseudo
        arrays = {
            "sites": np.array([[*term, *[-1] * (orders.max() - len(term))] for term in search.terms]),
            "couplings": np.stack([found.couplings, found.errors], 1),
            "network": network,
            "pseudo_likelihood": np.stack([pseudo.couplings, pseudo.standard_errors], 1),
        }
        counts = [f"{(orders == n).sum()} {kind}" for n, kind in ((1, "fields"), (2, "bonds"))]
        notes = [f"{', '.join(counts)} and {(orders > 2).sum()} products of more spins"]
        if left := unexplained(search):
            notes.append(
                f"H_θ explains {len(left)} of {system.num_sites} sites better than the terms found do"
            )
        return Result(
            estimates | found.explained(),
            arrays,
            self.figure(arrays, system.lattice_shape),
            notes=notes,
            attachments={"hamiltonian.json": found.hamiltonian.to_json()},
        )

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], lattice_shape: tuple[int, ...]) -> Figure:
        """The bonds on the lattice, and what the network says of each coupling."""
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
            ends = places[[i, j]]
            if len(lattice_shape) == 2:
                # A bond around the torus is drawn as two stubs.
                step = ends[1] - ends[0]
                wrapped = step - np.round(step / lattice_shape) * lattice_shape
                stubs = (
                    [ends]
                    if np.allclose(step, wrapped)
                    else [
                        np.stack([ends[0], ends[0] + wrapped / 2]),
                        np.stack([ends[1], ends[1] - wrapped / 2]),
                    ]
                )
            else:
                stubs = [ends]
            for stub in stubs:
                width = 2.5 * abs(value) / largest
                colour = MODEL if sign else EXACT
                left.plot(stub[:, 1], stub[:, 0], "-", lw=width, color=colour, label=text)
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


def positions(lattice_shape: tuple[int, ...]) -> np.ndarray:
    """Rows and columns `(N, 2)`; a chain is drawn as a circle."""
    if len(lattice_shape) == 2:
        return np.stack(np.unravel_index(np.arange(math.prod(lattice_shape)), lattice_shape), axis=1)
    turn = 2 * math.pi * np.arange(lattice_shape[0]) / lattice_shape[0]
    return np.stack([np.sin(turn), np.cos(turn)], axis=1)
