"""Renormalization flow of the learned couplings, and the exponent ν."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightdan.data.splits import derive_seed
from lightdan.interactions.catalogue import uniform_operators
from lightdan.interactions.fit import fit
from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.operators import Operator, nearest_neighbours
from lightdan.lattices.bravais import hypercubic
from lightdan.measurements.base import SampledMeasurement
from lightdan.measurements.couplings.sources import require_spins
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import DATA, EXACT, MODEL, legends, panels
from lightdan.measurements.report import Result
from lightdan.statistics import Blocks, Estimate, jackknife
from lightdan.systems.base import System
from lightdan.systems.block_spin import block_sums, majority

SMALLEST = 4
"""Side of the last lattice; on a smaller one, pairs in opposite directions coincide."""
MAX_DISTANCE = 1.5
"""Largest distance of a pair; pairs at distance 2 increase the error of λ on 4 × 4 sixfold."""


class Scale(NamedTuple):
    """Estimates after a number of blockings.

    Args:
        coupling: βJ of nearest neighbours alone.
        couplings: βJ of all operators by name.
        eigenvalue: Largest eigenvalue λ of the last blocking; None before the first.
        nu: ν = ln 2/ln λ; None unless λ is significantly above 1.
    """

    coupling: Estimate
    couplings: dict[str, Estimate]
    eigenvalue: Estimate | None = None
    nu: Estimate | None = None


class RenormalizationFlow(SampledMeasurement):
    """Couplings after repeated blocking by the majority rule of 2 × 2 spins, down to a side of 4.

    Only spins have a majority. Samples of the model are blocked; held-out configurations give the
    reference. Estimates after n
    blockings:

    - `coupling_<n>`: βJ of nearest neighbours alone. It grows with n in an ordered phase, is constant
      at a critical point, and vanishes in a disordered phase.
    - `<operator>_<n>`: βJ of field, pairs and plaquettes, fitted jointly.
    - `eigenvalue_<n>`: largest eigenvalue λ of T_ab = ∂K_a/∂K_b, where K are the couplings of the even
      operators, K_a after n blockings and K_b after n − 1.
    - `nu_<n>`: ν = ln 2/ln λ, meaningful at a critical point only; ν = 1 for Ising in two dimensions.

    T solves the linear equations of connected correlations

        ⟨O_c O_b⟩ = Σ_a ⟨O_c O_a⟩ T_ab,  a and c after n blockings, b after n − 1

    References:
        R. Swendsen, Phys. Rev. Lett. 42, 859 (1979).
    """

    name = "renormalization_flow"

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure the couplings at all scales and the exponent of each blocking."""
        require_spins(ensemble)
        shape = tuple(ensemble.system.lattice_shape)
        if not ensemble.system.lattice.is_hypercubic:
            raise NotMeasurable("Blocking needs a rectangular lattice.")
        if len(shape) != 2 or not can_be_blocked(shape):
            raise NotMeasurable(
                f"Blocking needs two axes of even sides of at least {2 * SMALLEST}, not "
                f"{' × '.join(map(str, shape))}."
            )
        samples = ensemble.samples(self.num_samples, self.seed).configurations
        model = self.flow(ensemble.system, samples)
        data = self.flow(ensemble.system, ensemble.configurations, ensemble.blocks)
        arrays = {
            f"coupling_{source}": np.array([scale.coupling for scale in scales])
            for source, scales in (("model", model), ("data", data))
        }
        unlisted = {f"{name}_{n}" for n, scale in enumerate(model) for name in scale.couplings}
        figure = self.figure(model, data)
        return Result(named(model), arrays, figure, named(data), unlisted)

    def flow(self, system: System, configurations: Tensor, blocks: Blocks | None = None) -> list[Scale]:
        """Return the estimates before and after each blocking of configurations `(M, *lattice)`."""
        scales: list[Scale] = []
        finer: np.ndarray | None = None
        spins = configurations.to(torch.int8)
        length = 1 if blocks is None else int(blocks.sizes.max())
        while True:
            shape = spins.shape[1:]
            operators = uniform_operators(
                hypercubic(shape, system.boundary), system.symmetries, MAX_DISTANCE
            )
            (coupling,) = couplings_of([nearest_neighbours(operators)], spins, length)
            names = [operator.name for operator in operators]
            couplings = dict(zip(names, couplings_of(operators, spins, length), strict=True))
            rows = spins.cpu().numpy()
            coarser = np.stack([o.value(rows) for o in operators if o.order % 2 == 0], axis=1)
            exponents = () if finer is None else exponent(finer, coarser, blocks)
            scales.append(Scale(coupling, couplings, *exponents))
            if not can_be_blocked(shape):
                return scales
            finer = coarser
            spins = majority(block_sums(spins), derive_seed(self.seed, 8, len(scales)))

    @staticmethod
    def figure(model: Sequence[Scale], data: Sequence[Scale]) -> Figure:
        """Plot the coupling of nearest neighbours, and all couplings, by number of blockings."""
        figure, (left, right) = panels(2)
        blockings = np.arange(len(model))
        style: dict[str, Any] = {"lw": 1, "ms": 4, "mfc": "none"}
        for scales, text, colour, marker, shift in (
            (model, r"samples of $H_\theta$", MODEL, "o", 0.0),
            (data, "data", DATA, "s", 0.04),
        ):
            values, errors = np.array([scale.coupling for scale in scales]).T
            left.errorbar(
                blockings + shift, values, errors, fmt=f"{marker}-", color=colour, label=text, **style
            )
        for name, marker in zip(model[0].couplings, "x^osdv*", strict=False):
            values, errors = np.array([scale.couplings[name] for scale in model]).T
            text = name.replace("_", " ")
            right.errorbar(blockings, values, errors, fmt=f"{marker}-", label=text, **style)
        for panel, text in ((left, r"$\beta J$ of nearest neighbours alone"), (right, r"$\beta J_a$")):
            panel.set(xlabel="blockings", ylabel=text, xticks=blockings)
        left.set_ylim(bottom=0)
        right.axhline(0, lw=0.7, color=EXACT)
        legends((left, right))
        return figure


def can_be_blocked(shape: Sequence[int]) -> bool:
    """Return whether blocks of 2 × 2 leave a large enough lattice."""
    return all(side % 2 == 0 and side >= 2 * SMALLEST for side in shape)


def couplings_of(operators: Sequence[Operator], spins: Tensor, block_size: int = 1) -> list[Estimate]:
    """Return the pseudo-likelihood couplings of operators, from spins `(M, *lattice)`."""
    fields = LocalFields(operators, math.prod(spins.shape[1:]), spins.device)
    result = fit(fields, spins, block_size=block_size)
    pairs = zip(result.couplings, result.standard_errors, strict=True)
    return [Estimate(float(value), float(error)) for value, error in pairs]


def named(scales: Sequence[Scale]) -> dict[str, Estimate]:
    """Return all estimates by name, with the number of blockings at the end."""
    estimates: dict[str, Estimate] = {}
    for n, scale in enumerate(scales):
        entries = {"coupling": scale.coupling, **scale.couplings}
        if scale.eigenvalue is not None:
            entries["eigenvalue"] = scale.eigenvalue
        if scale.nu is not None:
            entries["nu"] = scale.nu
        estimates |= {f"{name}_{n}": estimate for name, estimate in entries.items()}
    return estimates


def exponent(
    finer: np.ndarray, coarser: np.ndarray, blocks: Blocks | None = None
) -> tuple[Estimate, Estimate | None]:
    """Return the eigenvalue λ and the exponent ν of a blocking.

    Args:
        finer: Even operators before the blocking `(M, operators)`.
        coarser: Even operators after the blocking `(M, operators)`.
        blocks: Blocks of the configurations, as in `jackknife`.

    Returns:
        λ, and ν if λ is significantly above 1, else None.
    """
    num = coarser.shape[1]
    joined = np.concatenate([coarser, finer], axis=1)
    joined -= joined.mean(axis=0)
    products = joined[:, :num, None] * joined[:, None, :]

    def eigenvalue(means: np.ndarray, products: np.ndarray) -> float:
        connected = products - means[:num, None] * means
        matrix = np.linalg.solve(connected[:, :num], connected[:, num:])
        return float(np.abs(np.linalg.eigvals(matrix)).max())

    largest = jackknife(eigenvalue, joined, products, blocks=blocks)
    # λ ≤ 1 means a disordered phase far from the critical point, without a relevant direction.
    if largest.value - 3 * largest.error <= 1:
        return largest, None
    nu = jackknife(
        lambda m, p: math.log(2) / math.log(eigenvalue(m, p)), joined, products, blocks=blocks
    )
    return largest, nu
