"""The couplings of the learned Hamiltonian of a uniform system."""

import math

import numpy as np
from matplotlib.figure import Figure

from lightdan.interactions.hamiltonian import Operator
from lightdan.interactions.operators import sites_with_neighbours, uniform_operators
from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.couplings.effective_hamiltonian import EffectiveHamiltonian, require_spins
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import DATA, EXACT, MODEL, legends, panels
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate


class Couplings(SampledMeasurement):
    """βJ_a of the Hamiltonian H = −Σ_a J_a O_a that explains H_θ: field, pairs by distance, plaquettes.

    For a uniform system of spins, with one coupling for each class of displacements; `CouplingGraph` is
    for any other. The estimates `<operator>` are those of `EffectiveHamiltonian`: the projection of H_θ
    on the operators, rid of the network's error as held-out configurations measure it. Beside them are
    `<operator>_network`, what the network alone says, with the error that it is measured to have, and
    `pseudo_likelihood_<operator>` of the same configurations. Where H is made of the operators the first
    and the last agree, and the network only costs time; where it is not, H_θ keeps what the operators
    leave out. `explained_single_flip` and `explained_multi_flip` are the shares of the variance of
    H_θ's differences, of one and of four random spins, that the projection explains.
    Of a window of a larger system only the sites further from its edge than `max_distance` are fitted.
    The Hamiltonian of the estimates goes to ``couplings/hamiltonian.json``: `SpinHamiltonian.load`.

    Args:
        max_distance: Of the pairs.
        num_samples: Of the network for the projection, and at most so many held-out configurations.
        kwargs: Of `SampledMeasurement`: seed, every_n_epochs.
    """

    name = "couplings"

    def __init__(self, max_distance: float = 4.0, num_samples: int = 3_000, **kwargs: object) -> None:
        super().__init__(num_samples=num_samples, **kwargs)  # type: ignore[arg-type]
        self.max_distance = max_distance

    def measure(self, ensemble: Ensemble) -> Result:
        """The couplings with errors, and the Hamiltonian that they make."""
        found = uniform_hamiltonian(ensemble, self.max_distance, self.num_samples, self.seed)
        operators = found.operators
        columns = {
            "": (found.couplings, found.errors),
            "_network": (found.network.couplings, found.network_errors),
            "pseudo_likelihood_": (found.pseudo.couplings, found.pseudo.standard_errors),
        }
        estimates: dict[str, Estimate] = {}
        reference: dict[str, float | Estimate] = {}
        unlisted = set()
        for affix, (values, errors) in columns.items():
            for operator, value, error in zip(operators, values, errors, strict=True):
                plain = label(operator)
                name = plain + affix if affix.startswith("_") else affix + plain
                estimates[name] = Estimate(value, error)
                if plain in ensemble.exact:
                    reference[name] = ensemble.exact[plain]
                if affix and plain not in ("field", "nearest_neighbour", "plaquette"):
                    unlisted.add(name)
        pairs = [index for index, operator in enumerate(operators) if operator.order == 2]
        arrays = {"distance": np.array([distance(operators[index]) for index in pairs])}
        for name, column in zip(
            ("couplings", "network", "pseudo_likelihood"), columns.values(), strict=True
        ):
            arrays[name] = np.stack(column, 1)[pairs]
        return Result(
            estimates | found.explained(),
            arrays,
            self.figure(arrays),
            reference,
            unlisted,
            attachments={"hamiltonian.json": found.hamiltonian.to_json()},
        )

    @staticmethod
    def figure(arrays: dict[str, np.ndarray]) -> Figure:
        """J(r), and the same without the nearest neighbours."""
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


def uniform_hamiltonian(
    ensemble: Ensemble, max_distance: float, num_samples: int, seed: int
) -> EffectiveHamiltonian:
    """That of a uniform system of spins, made once for all who ask for the same.

    Raises:
        NotMeasurable: its sites are no spins, or the configurations are too few.
    """
    require_spins(ensemble)
    system = ensemble.system
    operators = uniform_operators(system.lattice_shape, system.boundary, system.symmetries, max_distance)
    try:
        sites = sites_with_neighbours(system.lattice_shape, system.boundary, operators).tolist()
    except ValueError as reason:
        raise NotMeasurable(str(reason)) from reason
    return ensemble.keep(
        ("uniform Hamiltonian", max_distance, num_samples, seed),
        lambda: EffectiveHamiltonian(ensemble, operators, num_samples, seed, sites),
    )


def label(operator: Operator) -> str:
    """Of an estimate: ``field``, ``nearest_neighbour``, ``pair_1_1``, ``plaquette``."""
    step = operator.name.removeprefix("pair ").strip("()").replace(" ", "").strip(",").split(",")
    if operator.order != 2:
        return operator.name
    if sorted(step) in (["0", "1"], ["1"]) and step[0] == "1":
        return "nearest_neighbour"
    return "pair_" + "_".join(step).replace("-", "m")


def distance(operator: Operator) -> float:
    """|r| of a pair."""
    step = operator.name.removeprefix("pair ").strip("()").split(",")
    return math.hypot(*(float(x) for x in step if x.strip()))
