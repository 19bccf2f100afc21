"""The couplings of the learned Hamiltonian."""

import math
from dataclasses import replace

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightdan.callbacks.base import SampledMeasurement
from lightdan.callbacks.ensemble import Ensemble, NotMeasurable
from lightdan.callbacks.figures import DATA, EXACT, MODEL, legends, panels
from lightdan.callbacks.report import Result
from lightdan.local_couplings import Fit, LocalFields, fit, uniform_operators
from lightdan.progress import progress_bar
from lightdan.spin_hamiltonian import Operator, SpinHamiltonian
from lightdan.statistics import Estimate, jackknife
from lightdan.systems.base import SPLITS


class Couplings(SampledMeasurement):
    """βJ_a of the Hamiltonian H = −Σ_a J_a O_a that explains H_θ: field, pairs by distance, plaquettes.

    Three fits of local conditionals, `local_couplings.fit`, each with all operators at once:

    1. J⁰ projects H_θ on the operators, on `num_samples` samples of the network: what the network says.
    2. δ is what the held-out configurations ask for beyond H_θ, the network's own error as data that it
       has not seen measure it: H_θ is the offset, δ the couplings that are missing.
    3. The pseudo-likelihood of all configurations, J^PL, and of the same held-out ones, J^PL_h.

    The estimates `<operator>` are J⁰ + δ + (J^PL − J^PL_h): the noise of δ, which a few held-out
    configurations leave, is that of J^PL_h and is exchanged for that of all. Beside them are
    `<operator>_network`, J⁰ with the error that δ shows it to have, and `pseudo_likelihood_<operator>`.
    Where H is made of the operators the first and the last agree, and the network only costs time; where
    it is not, H_θ keeps what the operators leave out of the fit of δ. `explained_single_flip` and
    `explained_multi_flip` are the shares of the variance of H_θ's differences, of one and of four random
    spins, that the projection explains.
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
        system = ensemble.system
        operators = operators_of(ensemble, self.max_distance)
        fields = LocalFields(operators, system.num_sites, ensemble.model.device)
        held_out = ensemble.configurations[: self.num_samples]
        everything = torch.cat([system.rows(name, ensemble.temperature) for name in SPLITS]).to(held_out)
        if len(held_out) <= len(operators):
            raise NotMeasurable(
                f"{len(held_out)} held-out configurations are too few for {len(operators)} couplings: "
                "give more data, or lower max_distance"
            )
        samples = ensemble.samples(self.num_samples, self.seed).configurations
        network, logits = project(ensemble, fields, samples)
        offset = local_logits(ensemble, held_out)
        missing = fit(fields, held_out, offset=offset)
        ours = fit(fields, held_out)
        with progress_bar("Pseudo-likelihood", 3 * system.num_sites) as advance:
            pseudo = fit(fields, everything, initial=ours.couplings, progress=advance)
        values = network.couplings + missing.couplings + pseudo.couplings - ours.couplings
        remainder = Fit(values, missing.influence - ours.influence)
        variances = [found.covariance.diagonal() for found in (network, remainder, pseudo)]
        errors = np.sqrt(np.sum(variances, axis=0))
        missing_error = np.sqrt(missing.covariance.diagonal())
        estimates: dict[str, Estimate] = {}
        for index, operator in enumerate(operators):
            estimates[label(operator)] = Estimate(values[index], errors[index])
        for index, operator in enumerate(operators):
            error = math.hypot(missing.couplings[index], missing_error[index])
            estimates[f"{label(operator)}_network"] = Estimate(network.couplings[index], error)
        pseudo_error = np.sqrt(pseudo.covariance.diagonal())
        for index, operator in enumerate(operators):
            name = f"pseudo_likelihood_{label(operator)}"
            estimates[name] = Estimate(pseudo.couplings[index], pseudo_error[index])
        raw = hamiltonian_of(ensemble, operators, network.couplings)
        estimates |= self.explained(ensemble, samples, fields, network.couplings, logits, raw)
        exact = {name: value for name, value in ensemble.exact.items() if name in estimates}
        reference: dict[str, float | Estimate] = dict(exact)
        for name, value in exact.items():
            reference |= {f"{name}_network": value, f"pseudo_likelihood_{name}": value}
        learned = hamiltonian_of(ensemble, operators, values, errors)
        pairs = [index for index, operator in enumerate(operators) if operator.order == 2]
        arrays = {
            "distance": np.array([distance(operators[index]) for index in pairs]),
            "couplings": np.stack([values, errors], 1)[pairs],
            "network": np.stack([network.couplings, missing_error], 1)[pairs],
            "pseudo_likelihood": np.stack([pseudo.couplings, pseudo_error], 1)[pairs],
        }
        shown = {"field", "nearest_neighbour", "plaquette"}
        hidden = {
            name
            for name in estimates
            if name.removesuffix("_network").removeprefix("pseudo_likelihood_") not in shown
            and name.endswith("_network") | name.startswith("pseudo_likelihood_")
        }
        return Result(
            estimates,
            arrays,
            self.figure(arrays),
            reference,
            hidden,
            attachments={"hamiltonian.json": learned.to_json()},
        )

    def explained(
        self,
        ensemble: Ensemble,
        samples: Tensor,
        fields: LocalFields,
        couplings: np.ndarray,
        logits: Tensor,
        hamiltonian: SpinHamiltonian,
    ) -> dict[str, Estimate]:
        """Shares of the variance of H_θ's differences that the projection explains."""
        device = samples.device
        linear = fields.logits(samples, couplings)
        single = share(logits.mean(1), logits, linear)
        generator = torch.Generator().manual_seed(self.seed)
        chosen = torch.rand(len(samples), samples[0].numel(), generator=generator).argsort(1)[:, :4]
        changed = samples.flatten(1).clone()
        changed.scatter_(1, chosen.to(device), -changed.gather(1, chosen.to(device)))
        changed = changed.reshape(samples.shape)
        energies = [
            hamiltonian.energy(s.cpu().numpy()) / ensemble.temperature for s in (changed, samples)
        ]
        learned = [-ensemble.evaluate(ensemble.model.log_prob, s) for s in (changed, samples)]
        y = torch.as_tensor(learned[0] - learned[1])[:, None]
        x = torch.as_tensor(energies[0] - energies[1])[:, None]
        return {"explained_single_flip": single, "explained_multi_flip": share(y[:, 0], y, x)}

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


def operators_of(ensemble: Ensemble, max_distance: float) -> list[Operator]:
    """The operators of a uniform system of spins.

    Raises:
        NotMeasurable: its sites are no spins.
    """
    system = ensemble.system
    if system.site_kind != "spin":
        raise NotMeasurable(
            f"sites of kind {system.site_kind!r} have no couplings of spins; Observables and Symmetry "
            "fit them"
        )
    return uniform_operators(system.lattice_shape, system.boundary, system.symmetries, max_distance)


def local_logits(ensemble: Ensemble, configurations: Tensor) -> Tensor:
    """Ln p_θ(s_i = 1 | all others) − ln p_θ(s_i = −1 | all others) `(M, N)`, in double precision."""
    model = ensemble.model
    parts = []
    with progress_bar("Local fields", len(configurations)) as advance:
        for part in configurations.split(500):
            fields = model.local_fields(part, ensemble.temperature).double()
            parts.append((fields[..., 0] - fields[..., 1]) / ensemble.temperature)
            advance(len(part))
    return torch.cat(parts)


def project(ensemble: Ensemble, fields: LocalFields, configurations: Tensor) -> tuple[Fit, Tensor]:
    """Couplings of the projection of H_θ on operators, and the local logits that were projected."""
    logits = local_logits(ensemble, configurations)
    return fit(fields, configurations, torch.sigmoid(logits)), logits


def hamiltonian_of(
    ensemble: Ensemble,
    operators: list[Operator],
    couplings: np.ndarray,
    errors: np.ndarray | None = None,
) -> SpinHamiltonian:
    """The Hamiltonian with these βJ."""
    given = np.full(len(couplings), math.nan) if errors is None else errors
    temperature = ensemble.temperature
    return SpinHamiltonian(
        tuple(ensemble.system.lattice_shape),
        [
            replace(operator, coupling=float(temperature * value), error=float(temperature * error))
            for operator, value, error in zip(operators, couplings, given, strict=True)
        ],
        temperature,
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


def share(by_row: Tensor, y: Tensor, x: Tensor) -> Estimate:
    """1 − ⟨(y − x)²⟩/⟨(y − ȳ)²⟩, with a jackknife error over the rows."""
    centre = y.mean()
    residual = (y - x).square().mean(1).cpu().numpy()
    total = (y - centre).square().mean(1).cpu().numpy()
    return jackknife(lambda r, t: 1 - r / t, residual, total)
