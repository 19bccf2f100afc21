"""Couplings of the learned Hamiltonian of a uniform system."""

import numpy as np
from matplotlib.figure import Figure

from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.couplings.effective_hamiltonian import uniform_hamiltonian
from lightdan.measurements.ensemble import Ensemble
from lightdan.measurements.figures import DATA, EXACT, MODEL, legends, panels
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate


class Couplings(SampledMeasurement):
    """Couplings βJ_a that explain H_θ: field, pairs by distance and plaquettes.

        H = −Σ_a J_a O_a

    Couplings are uniform, one for each class of displacements; use `CouplingGraph` for disordered
    systems. For each operator there are three estimates:

    - `<operator>`: projection of H_θ onto the operators, corrected for the network's error on held-out
      configurations, see `CorrectedFit`.
    - `<operator>_network`: projection alone, with the error measured on held-out configurations.
    - `pseudo_likelihood_<operator>`: pseudo-likelihood fit to the same configurations.

    If H consists of these operators, the first and the last agree and the network is not needed. If it
    does not, H_θ contains what the operators leave out. `explained_single_flip` and
    `explained_multi_flip` are the shares of the variance of H_θ's differences that the projection
    explains, for flips of one and of four random spins.

    In a window of a larger system, only sites further than `max_distance` from its edge are fitted. The
    Hamiltonian is written to ``couplings/hamiltonian.json``; read it with `SpinHamiltonian.load`.

    Args:
        max_distance: Largest distance of a pair, in lattice constants.
        num_samples: Number of network samples, and largest number of held-out configurations.
        kwargs: Arguments of `SampledMeasurement`: seed, every_n_epochs.
    """

    name = "couplings"

    def __init__(self, max_distance: float = 4.0, num_samples: int = 3_000, **kwargs: object) -> None:
        super().__init__(num_samples=num_samples, **kwargs)  # type: ignore[arg-type]
        self.max_distance = max_distance

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure the couplings and write the Hamiltonian."""
        effective = uniform_hamiltonian(ensemble, self.max_distance, self.num_samples, self.seed)
        operators, corrected = effective.operators, effective.corrected
        columns = {
            "couplings": ("{}", corrected.couplings, corrected.errors),
            "network": ("{}_network", corrected.network.couplings, corrected.network_errors),
            "pseudo_likelihood": (
                "pseudo_likelihood_{}",
                corrected.pseudo.couplings,
                corrected.pseudo.standard_errors,
            ),
        }
        pairs = [index for index, operator in enumerate(operators) if operator.order == 2]
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
                if column != "couplings" and operator.distance > 1:
                    unlisted.add(name)
            arrays[column] = np.stack([values, errors], 1)[pairs]
        return Result(
            estimates | effective.explained(),
            arrays,
            self.figure(arrays),
            reference,
            unlisted,
            attachments={"hamiltonian.json": effective.hamiltonian.to_json()},
        )

    @staticmethod
    def figure(arrays: dict[str, np.ndarray]) -> Figure:
        """Plot J(r), with and without the nearest neighbours."""
        figure, (left, right) = panels(2)
        distance = arrays["distance"]
        for name, text, colour, marker, shift in (
            ("couplings", "estimate", MODEL, "o", 0.0),
            ("network", r"$H_\theta$ alone", DATA, "s", 0.05),
            ("pseudo_likelihood", "pseudo-likelihood", EXACT, "^", 0.1),
        ):
            values, errors = arrays[name].T
            for panel, rows in ((left, slice(None)), (right, distance > distance.min())):
                panel.errorbar(
                    distance[rows] + shift,
                    values[rows],
                    errors[rows],
                    fmt=marker,
                    ms=3.5,
                    mfc="none",
                    color=colour,
                    label=text,
                )
        for panel in (left, right):
            panel.axhline(0, lw=0.7, color=EXACT)
            panel.set(xlabel="$r$", ylabel=r"$\beta J(r)$")
        legends((left, right))
        return figure
