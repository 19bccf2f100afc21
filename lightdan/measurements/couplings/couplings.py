"""Couplings of the learned Hamiltonian of a uniform system."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lightdan.checks import check_number
from lightdan.interactions.undetermined import undetermined_combinations
from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.couplings.best import SIMULATED, best
from lightdan.measurements.couplings.effective_hamiltonian import uniform_hamiltonian
from lightdan.measurements.couplings.energies import (
    is_bump,
    largest_deviation,
    pair_matrix,
    potential,
    true_potential,
)
from lightdan.measurements.couplings.own_simulation import OwnSimulation
from lightdan.measurements.couplings.projection import errors_of_projection, explained, projection
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.figures import DATA, EXACT, MODEL, legends, panels
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate

MEASURED = "measured Hamiltonian"
"""Key by which an ensemble keeps the Hamiltonian."""


class Couplings(SampledMeasurement):
    """Couplings βJ_a that explain H_θ, for every kind of site.

        H = −Σ_a J_a O_a

    Couplings are uniform, one for each class of displacements; use `CouplingGraph` for disordered
    spins. The operators are

    - spins: ``field``, ``pairs`` s_i s_j, ``plaquettes``, and ``triples`` on a line; films in which
      walls hardly ever cross have no plaquettes by default, because these follow from pairs;
    - levels: ``fields`` and ``matrices`` (symmetric matrices of pairs, with zero sums of rows and
      columns), or in their place ``powers`` s, s², ``pairs`` s_i s_j, ``square_pairs`` s_i² s_j²,
      ``potts`` δ(s_i, s_j);
    - angles: ``pairs`` cos(θ_i − θ_j), and for nearest neighbours ``sines``, ``pairs_2`` and
      ``sines_2`` with 2(θ_i − θ_j), ``pairs_3``, ``sines_3``; ``fields`` cos nθ and sin nθ, ``triples``
      cos(θ_i − 2θ_j + θ_k), ``plaquettes`` cos(θ_i − θ_j − θ_k + θ_l);
    - fields: ``powers`` φ to φ⁴ and ``powers_6`` φ⁵, φ⁶, or a smooth ``potential`` V(φ) of splines;
      ``pairs`` φ_i φ_j, ``square_pairs`` φ_i² φ_j², or ``kinetic`` −(φ_i − φ_j)²/2.

    For each operator there are three estimates, for continuous sites four:

    - `<operator>`: projection of H_θ onto the operators, corrected for the network's error on held-out
      configurations, see `CorrectedFit`. If the sites are no fields, a simulation of at most about a
      minute leads from there to `MaximumLikelihood`. In windows it is made for spins on a plane, by
      large films.
    - `<operator>_network`: H_θ alone, with an error that contains its distance from pseudo-likelihood.
    - `pseudo_likelihood_<operator>`: pseudo-likelihood fit to the same configurations.
    - `score_matching_<operator>`: score matching of the same configurations.

    If H consists of these operators, the first and the last agree and the network is not needed. If it
    does not, H_θ contains what the operators leave out. `explained_single_site` and
    `explained_multi_site` are the shares of the variance of H_θ's differences that the projection
    explains, for changes of one and of four random sites. `efficiency` compares the errors with the
    Cramér–Rao bound. For fields, the array `potential` has V(φ) = βH/N of constant fields with its
    error, and `potential_deviation` is its largest deviation from the true one.

    The Hamiltonian is simulated once. `own_<observable>`, `own_correlation_max_deviation` and
    `own_structure_factor_max_deviation` compare it with held-out data; `nll` is its −⟨ln p⟩ and
    `gain_network` the network's advantage in nats.

    In a window of a larger system, conditionals are fitted of sites further than `max_distance` from its
    edge only. A wide prior of couplings holds combinations that the data do not determine, and a note
    names them.

    The Hamiltonian is written to ``couplings/hamiltonian.json``; read it with
    `ExplicitHamiltonian.load`.

    Args:
        max_distance: Largest distance of a pair, in lattice constants. By default it is 4, but in
            windows of spins with a period about three quarters of it, up to 8.
        operators: Names of groups of operators, or of single ones like ``nearest_neighbour``; by default
            ``field``, ``pairs`` and ``plaquettes`` of spins, ``fields`` and ``matrices`` of levels,
            ``pairs``, ``pairs_2`` and ``sines`` of angles, ``powers`` and ``pairs`` of fields.
        num_samples: Number of network samples, and largest number of held-out configurations.
        kwargs: Arguments of `SampledMeasurement`: seed, every_n_epochs.
    """

    name = "couplings"
    takes_weights = True

    def __init__(
        self,
        max_distance: float | None = None,
        operators: list[str] | None = None,
        num_samples: int = 3_000,
        **kwargs: object,
    ) -> None:
        super().__init__(num_samples=num_samples, **kwargs)  # type: ignore[arg-type]
        if max_distance is not None:
            check_number("max_distance", max_distance, 0, math.inf)
        self.max_distance = max_distance
        self.operators = operators

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure the couplings and write the Hamiltonian."""
        effective = uniform_hamiltonian(
            ensemble, self.max_distance, self.num_samples, self.seed, self.operators
        )
        operators, corrected = effective.operators, effective.corrected
        found, alone = best(effective, self.seed), projection(effective)
        likeliest, notes = found.fit, [*effective.notes, *found.notes]
        notes += undetermined_combinations(operators, likeliest.covariance, effective.prior)
        columns = {
            "couplings": ("{}", likeliest.couplings, likeliest.errors),
            "network": ("{}_network", alone.couplings, errors_of_projection(effective, alone)),
        }
        fits = {"pseudo_likelihood": corrected.pseudo, "score_matching": effective.score_matching}
        if corrected.pseudo is effective.score_matching:
            del fits["pseudo_likelihood"]
        for column, single in fits.items():
            if single is not None:
                template = f"{column}_{{}}"
                columns[column] = (template, single.couplings, single.standard_errors)
        pairs = [index for index, operator in enumerate(operators) if operator.displacement]
        estimates: dict[str, Estimate] = {}
        reference: dict[str, float | Estimate] = {}
        unlisted = set()
        arrays = {"distance": np.array([operators[index].distance for index in pairs])}
        for column, (template, values, errors) in columns.items():
            for operator, value, error in zip(operators, values, errors, strict=True):
                name = template.format(operator.name)
                estimates[name] = Estimate(value, error)
                if operator.name in ensemble.exact:
                    reference[name] = ensemble.exact[operator.name]
                if (column != "couplings" and operator.distance > 1) or is_bump(operator):
                    unlisted.add(name)
            arrays[column] = np.stack([values, errors], 1)[pairs]
        estimates["efficiency"] = effective.moments.efficiency(likeliest.covariance)
        if ensemble.system.site_kind == "level":
            system = ensemble.system
            physical = () if system.clock else system.level_values
            arrays |= pair_matrix(system.levels, operators, likeliest.couplings, physical)
        if ensemble.system.site_kind == "real":
            arrays["potential"] = potential(effective)
            if centre := float(effective.hamiltonian.centres()[0]):
                notes.append(f"Fields are far from 0, so couplings are those of φ − {centre:g}.")
            if ensemble.system.has_action:
                true = true_potential(ensemble, arrays["potential"][:, 0])
                arrays["true_potential"] = true
                estimates["potential_deviation"] = largest_deviation(arrays["potential"], true)
        names = [operators[index].name for index in pairs]
        result = Result(
            estimates | explained(effective),
            arrays,
            self.figure(arrays, names, ensemble.system.level_names),
            reference,
            unlisted,
            notes,
        )
        hamiltonian = effective.with_couplings(
            likeliest.couplings, likeliest.errors, likeliest.covariance
        )
        own = OwnSimulation(ensemble, hamiltonian, SIMULATED, self.seed)
        if own.is_bounded(result):
            own.add_to(result)
        ensemble.keep(MEASURED, lambda: hamiltonian)
        result.attachments["hamiltonian.json"] = hamiltonian.to_json()
        return result

    @staticmethod
    def figure(
        arrays: dict[str, np.ndarray], names: Sequence[str], level_names: Sequence[str] = ()
    ) -> Figure:
        """Plot J(r) beside the potential, the matrix of pairs, or J(r) beyond nearest neighbours.

        Args:
            arrays: Arrays of the result.
            names: Names of the operators of pairs.
            level_names: Names of the levels, if they have some.
        """
        figure, (left, right) = panels(2)
        distance = arrays["distance"]
        plain = np.array(
            [name.startswith(("pair_", "nearest", "kinetic", "potts")) for name in names], bool
        )
        styles = (
            ("couplings", "estimate", MODEL, "o", 0.0),
            ("network", r"$H_\theta$ alone", DATA, "s", 0.05),
            ("pseudo_likelihood", "pseudo-likelihood", EXACT, "^", 0.1),
            ("score_matching", "score matching", EXACT, "v", 0.15),
        )
        shown = {left: plain if plain.any() else np.ones(len(names), bool)}
        if "potential" in arrays:
            x, value, error = arrays["potential"].T
            right.plot(x, value, color=MODEL, label="estimate")
            right.fill_between(x, value - error, value + error, color=MODEL, alpha=0.3, lw=0)
            if "true_potential" in arrays:
                right.plot(x, arrays["true_potential"], "--", lw=1, color=EXACT, label="exact")
            right.set(xlabel=r"$\varphi$", ylabel=r"$V(\varphi)$ + constant")
        elif "matrix" in arrays:
            largest = np.abs(arrays["matrix"]).max()
            image = right.imshow(arrays["matrix"], cmap="RdBu_r", vmin=-largest, vmax=largest)
            levels = level_names or [f"{level:g}" for level in arrays["levels"]]
            right.set_xticks(range(len(levels)), levels)
            right.set_yticks(range(len(levels)), levels)
            right.set(xlabel="$s_j$", ylabel="$s_i$", title=r"$\beta J(s_i, s_j)$, nearest")
            figure.colorbar(image, ax=right)
        else:
            rest = (distance > distance.min(initial=np.inf)) | ~plain
            shown[right] = rest if rest.any() else shown[left]
        for panel, rows in shown.items():
            for name, text, colour, marker, shift in styles:
                if name in arrays:
                    values, errors = arrays[name][rows].T
                    r = distance[rows] + shift
                    style: dict[str, Any] = {"ms": 3.5, "mfc": "none", "color": colour, "label": text}
                    panel.errorbar(r, values, errors, fmt=marker, **style)
            panel.axhline(0, lw=0.7, color=EXACT)
            panel.set(xlabel="$r$", ylabel=r"$\beta J(r)$")
            panel.set_xlim(0, distance.max(initial=1.0) + 0.5)
        legends([panel for panel in (left, right) if panel.get_legend_handles_labels()[0]])
        return figure
