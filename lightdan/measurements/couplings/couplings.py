"""Couplings of the learned Hamiltonian of a uniform system."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from lightdan.interactions.catalogue import contrasts_of
from lightdan.interactions.factors import Bump
from lightdan.interactions.hamiltonian import ExplicitHamiltonian
from lightdan.interactions.operators import Operator
from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.couplings.effective_hamiltonian import (
    EffectiveHamiltonian,
    field_range,
    uniform_hamiltonian,
)
from lightdan.measurements.couplings.own_simulation import OwnSimulation
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.figures import DATA, EXACT, MODEL, legends, panels
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate

SIMULATED = 2_000
"""Number of configurations by which a Hamiltonian is judged."""
GRID = 201
"""Number of points of a potential."""


class Couplings(SampledMeasurement):
    """Couplings βJ_a that explain H_θ, for every kind of site.

        H = −Σ_a J_a O_a

    Couplings are uniform, one for each class of displacements; use `CouplingGraph` for disordered
    spins. The operators are

    - spins: ``field``, ``pairs`` s_i s_j, ``plaquettes``, and ``triples`` on a line;
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
      configurations, see `CorrectedFit`.
    - `<operator>_network`: projection alone, with the error measured on held-out configurations.
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
    `gain_network` the network's advantage in nats. If its operators have other means than the data,
    steps of maximum likelihood by simulation lead to `maximum_likelihood_<operator>`.

    In a window of a larger system, only sites further than `max_distance` from its edge are fitted. The
    Hamiltonian is written to ``couplings/hamiltonian.json``; read it with `ExplicitHamiltonian.load`.

    Args:
        max_distance: Largest distance of a pair, in lattice constants.
        operators: Names of the operators; by default ``field``, ``pairs`` and ``plaquettes`` of spins,
            ``fields`` and ``matrices`` of levels, ``pairs``, ``pairs_2`` and ``sines`` of angles,
            ``powers`` and ``pairs`` of fields.
        num_samples: Number of network samples, and largest number of held-out configurations.
        kwargs: Arguments of `SampledMeasurement`: seed, every_n_epochs.
    """

    name = "couplings"
    takes_weights = True

    def __init__(
        self,
        max_distance: float = 4.0,
        operators: list[str] | None = None,
        num_samples: int = 3_000,
        **kwargs: object,
    ) -> None:
        super().__init__(num_samples=num_samples, **kwargs)  # type: ignore[arg-type]
        self.max_distance, self.operators = max_distance, operators

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure the couplings and write the Hamiltonian."""
        effective = uniform_hamiltonian(
            ensemble, self.max_distance, self.num_samples, self.seed, self.operators
        )
        operators, corrected = effective.operators, effective.corrected
        columns = {
            "couplings": ("{}", corrected.couplings, corrected.errors),
            "network": ("{}_network", corrected.network.couplings, corrected.network_errors),
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
        estimates["efficiency"] = effective.efficiency()
        if ensemble.system.site_kind == "level":
            system = ensemble.system
            physical = () if system.clock else system.level_values
            arrays |= pair_matrix(system.levels, operators, effective.couplings, physical)
        if ensemble.system.site_kind == "real":
            arrays["potential"] = potential(effective)
            if ensemble.system.has_action:
                true = true_potential(ensemble, arrays["potential"][:, 0])
                arrays["true_potential"] = true
                estimates["potential_deviation"] = largest_deviation(arrays["potential"], true)
        names = [operators[index].name for index in pairs]
        result = Result(
            estimates | effective.explained(), arrays, self.figure(arrays, names), reference, unlisted
        )
        hamiltonian = self.judge(ensemble, effective, result)
        result.attachments["hamiltonian.json"] = hamiltonian.to_json()
        return result

    def judge(
        self, ensemble: Ensemble, effective: EffectiveHamiltonian, result: Result
    ) -> ExplicitHamiltonian:
        """Simulate the Hamiltonian, refine it if the data refuse it, and return the better one.

        Args:
            ensemble: Model, data and temperature.
            effective: Fitted Hamiltonian.
            result: Result to which estimates, arrays and notes are added.
        """
        own = OwnSimulation(ensemble, effective.hamiltonian, SIMULATED, self.seed)
        if not own.is_bounded(result):
            return own.hamiltonian
        refined = own.refined(effective.statistics)
        if refined is not own:
            for operator in refined.hamiltonian.operators:
                name = f"maximum_likelihood_{operator.name}"
                scale = 1 / ensemble.temperature
                result.estimates[name] = Estimate(operator.coupling * scale, operator.error * scale)
            before, after = own.likelihood()["nll"], refined.likelihood()["nll"]
            better = "maximum" if after.value < before.value else "pseudo"
            result.notes.append(
                "The data refuse the means of the operators in the simulation of the estimate. Maximum "
                f"likelihood by simulation changes −⟨ln p⟩ of held-out data from {before} to {after}; "
                f"the file has the couplings of {better}-likelihood."
            )
            own = refined if better == "maximum" else own
        own.add_to(result)
        return own.hamiltonian

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], names: Sequence[str]) -> Figure:
        """Plot J(r) beside the potential, the matrix of pairs, or J(r) beyond nearest neighbours.

        Args:
            arrays: Arrays of the result.
            names: Names of the operators of pairs.
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
            levels = [f"{level:g}" for level in arrays["levels"]]
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


def is_bump(operator: Operator) -> bool:
    """Return whether an operator is a spline of a potential."""
    return isinstance(operator.products[0].factors[0], Bump)


def potential(effective: EffectiveHamiltonian) -> np.ndarray:
    """Return the potential V(φ) = βH/N of constant fields, minus its mean.

    Returns:
        φ, V(φ) and its standard error at equidistant points `(points, 3)`.
    """
    grid = np.linspace(*field_range(effective.ensemble.configurations), GRID)
    fields = constant_fields(effective.ensemble, grid).numpy()
    basis = np.stack([-operator.value(fields) for operator in effective.operators], axis=1)
    basis = (basis - basis.mean(axis=0)) / effective.ensemble.system.num_sites
    errors = np.sqrt(np.einsum("ga,ab,gb->g", basis, effective.covariance, basis))
    return np.stack([grid, basis @ effective.couplings, errors], axis=1)


def constant_fields(ensemble: Ensemble, values: np.ndarray) -> torch.Tensor:
    """Return fields that are constant over the lattice `(values, *lattice)`."""
    shape = ensemble.system.lattice_shape
    return torch.as_tensor(values).reshape(-1, *[1] * len(shape)).expand(-1, *shape)


def true_potential(ensemble: Ensemble, grid: np.ndarray) -> np.ndarray:
    """Return S/N of constant fields, minus its mean `(points,)`."""
    values: np.ndarray = ensemble.action_of(constant_fields(ensemble, grid))
    values /= ensemble.system.num_sites
    return values - values.mean()


def largest_deviation(learned: np.ndarray, true: np.ndarray) -> Estimate:
    """Return the largest deviation of a potential from the true one.

    Args:
        learned: φ, U(φ) and its error `(points, 3)`.
        true: True U(φ) `(points,)`.
    """
    _, value, error = learned.T
    deviations = np.abs(value - true)
    worst = int(deviations.argmax())
    return Estimate(float(deviations[worst]), float(error[worst]))


def pair_matrix(
    levels: tuple[int, ...],
    operators: Sequence[Operator],
    couplings: np.ndarray,
    level_values: Sequence[float] = (),
) -> dict[str, np.ndarray]:
    """Return the levels, and the matrix βJ(s_i, s_j) of the first class of pairs if it was fitted.

    Its rows and columns add up to zero.

    Args:
        levels: Levels of a site.
        operators: Operators O_a.
        couplings: βJ_a `(operators,)`.
        level_values: Physical value of each level, if it is not the level itself.
    """
    arrays = {"levels": np.array(level_values or levels)}
    displacements = [o.displacement for o in operators if o.displacement]
    nearest = min(displacements, key=lambda step: (math.hypot(*step), step), default=None)
    contrasts = np.array([table.values for table in contrasts_of(levels, level_values)])
    matrix = np.zeros((len(levels),) * 2)
    found = False
    for operator, coupling in zip(operators, couplings, strict=True):
        if operator.name.startswith("matrix_") and operator.displacement == nearest:
            k, m = (int(part) - 1 for part in operator.name.split("_")[1:3])
            product = np.outer(contrasts[k], contrasts[m])
            matrix += coupling * (product if k == m else product + product.T)
            found = True
    return arrays | ({"matrix": matrix} if found else {})
