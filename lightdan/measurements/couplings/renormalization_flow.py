"""Couplings of the learned Hamiltonian after each blocking, and ν from how they change."""

import math
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightdan.data.splits import derive_seed
from lightdan.interactions.fit import LocalFields, fit
from lightdan.interactions.hamiltonian import Operator
from lightdan.interactions.operators import uniform_operators
from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.couplings.couplings import distance, label
from lightdan.measurements.couplings.effective_hamiltonian import require_spins
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import DATA, EXACT, MODEL, legends, panels
from lightdan.measurements.report import Result
from lightdan.statistics import Estimate, jackknife
from lightdan.systems.base import System
from lightdan.systems.block_spin import block_sums, majority

SMALLEST = 4
"""Side of the last lattice; on a smaller one pairs to both sides are the same."""
DISTANCE = 1.5
"""Of the pairs: with those at distance 2 the eigenvalue on 4 × 4 has six times the error."""


class RenormalizationFlow(SampledMeasurement):
    """The couplings under the majority rule of 2 × 2 spins, again and again, down to a side of 4.

    What is blocked are the model's samples, configurations of e^{−H_θ/T}; the reference is the same of
    held-out configurations. Estimates of level n, which is 0 before the first blocking:
    `coupling_<n>`, the one βJ of nearest neighbours that explains level n best, which grows from level
    to level in an ordered phase, stays at a critical point and goes to 0 in a disordered phase;
    `<operator>_<n>`, those of field, pairs and plaquettes together; `eigenvalue_<n>`, the largest λ of
    T_ab = ∂K_a/∂K_b, K_a the couplings of the even operators on level n and K_b on level n − 1; and
    `nu_<n>`, ν = ln 2/ln λ, which means something at a critical point only, where it is 1 for Ising in
    two dimensions. T solves ⟨O_c O_b⟩ = Σ_a ⟨O_c O_a⟩ T_ab, all connected, c and a on level n.

    Source: R. Swendsen, Phys. Rev. Lett. 42, 859 (1979).
    """

    name = "renormalization_flow"

    def measure(self, ensemble: Ensemble) -> Result:
        """Couplings of all levels and the exponent of each step."""
        require_spins(ensemble)
        shape = tuple(ensemble.system.lattice_shape)
        if len(shape) != 2 or not divisible(shape):
            raise NotMeasurable(
                f"blocking needs two axes of even sides of at least {2 * SMALLEST}, not "
                f"{' × '.join(map(str, shape))}"
            )
        samples = ensemble.samples(self.num_samples, self.seed).configurations
        estimates = self.flow(ensemble.system, samples)
        reference = self.flow(ensemble.system, ensemble.configurations)
        arrays = {}
        for source, found in (("model", estimates), ("data", reference)):
            flow = [found[f"coupling_{level}"] for level in range(levels(found))]
            arrays[f"coupling_{source}"] = np.array(flow)
        hidden = {name for name in estimates if not name.startswith(("coupling", "eigenvalue", "nu"))}
        return Result(estimates, arrays, self.figure(estimates, reference), reference, hidden)

    def flow(self, system: System, configurations: Tensor) -> dict[str, Estimate]:
        """The estimates from configurations `(M, *lattice)` of spins."""
        found: dict[str, Estimate] = {}
        finer: np.ndarray | None = None
        spins, level = configurations.to(torch.int8), 0
        while True:
            shape = spins.shape[1:]
            operators = uniform_operators(shape, system.boundary, system.symmetries, DISTANCE)
            bonds = [o.sites for o in operators if o.order == 2 and distance(o) == 1]
            for names, chosen in (
                (["coupling"], [Operator("bonds", np.concatenate(bonds))]),
                ([label(operator) for operator in operators], operators),
            ):
                fitted = fit(LocalFields(chosen, math.prod(shape), spins.device), spins)
                for name, *number in zip(names, fitted.couplings, fitted.standard_errors, strict=True):
                    found[f"{name}_{level}"] = Estimate(*map(float, number))
            rows = spins.cpu().numpy()
            coarser = np.stack([o.value(rows) for o in operators if o.order % 2 == 0], axis=1)
            if finer is not None:
                found |= exponent(finer, coarser, level)
            if not divisible(shape):
                return found
            finer, level = coarser, level + 1
            spins = majority(block_sums(spins), derive_seed(self.seed, 8, level))

    @staticmethod
    def figure(estimates: dict[str, Estimate], reference: dict[str, Estimate]) -> Figure:
        """The one coupling, and all of them, by level."""
        figure, (left, right) = panels(2)
        steps = np.arange(levels(estimates))
        for found, text, colour, marker, shift in (
            (estimates, r"samples of $H_\theta$", MODEL, "o", 0.0),
            (reference, "data", DATA, "s", 0.04),
        ):
            style: dict[str, Any] = {"mfc": "none", "ms": 4, "color": colour}
            flow = np.array([found[f"coupling_{step}"] for step in steps])
            left.errorbar(
                steps + shift, flow[:, 0], flow[:, 1], fmt=f"{marker}-", lw=1, label=text, **style
            )
        names = [name.removesuffix("_0") for name in estimates if name.endswith("_0")]
        for name, marker in zip(names[1:], "x^osdv*", strict=False):
            flow = np.array([estimates[f"{name}_{step}"] for step in steps])
            text = name.replace("_", " ")
            style = {"fmt": f"{marker}-", "lw": 1, "ms": 4, "mfc": "none", "label": text}
            right.errorbar(steps, flow[:, 0], flow[:, 1], **style)
        for panel, text in ((left, r"$\beta J$ of nearest neighbours alone"), (right, r"$\beta J_a$")):
            panel.set(xlabel="blockings", ylabel=text, xticks=steps)
        left.set_ylim(bottom=0)
        right.axhline(0, lw=0.7, color=EXACT)
        legends((left, right))
        return figure


def divisible(shape: tuple[int, ...]) -> bool:
    """Whether blocks of 2 × 2 leave a lattice that is large enough."""
    return all(side % 2 == 0 and side >= 2 * SMALLEST for side in shape)


def levels(found: dict[str, Estimate]) -> int:
    """How many there are."""
    return sum(name.startswith("coupling_") for name in found)


def exponent(finer: np.ndarray, coarser: np.ndarray, level: int) -> dict[str, Estimate]:
    """Eigenvalue and ν of a step, from the operators on the finer and the coarser lattice `(M, a)`."""
    num = coarser.shape[1]
    joined = np.concatenate([coarser, finer], axis=1)
    joined -= joined.mean(axis=0)
    products = joined[:, :num, None] * joined[:, None, :]

    def eigenvalue(means: np.ndarray, products: np.ndarray) -> float:
        connected = products - means[:num, None] * means
        matrix = np.linalg.solve(connected[:, :num], connected[:, num:])
        return float(np.abs(np.linalg.eigvals(matrix)).max())

    found = {f"eigenvalue_{level}": jackknife(eigenvalue, joined, products)}
    # λ ≤ 1 is no relevant direction: a disordered phase, far from the critical point.
    if found[f"eigenvalue_{level}"].value - 3 * found[f"eigenvalue_{level}"].error > 1:
        found[f"nu_{level}"] = jackknife(
            lambda m, p: math.log(2) / math.log(eigenvalue(m, p)), joined, products
        )
    return found
