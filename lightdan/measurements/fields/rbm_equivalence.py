"""Kernel of a Gaussian field, as learned by the network and by restricted Boltzmann machines."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lightdan.measurements.base import Measurement
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import DATA, EXACT, MODEL, dress
from lightdan.measurements.report import Result
from lightdan.measurements.table import Reference
from lightdan.simulation import gaussian_field
from lightdan.statistics import Bound, Estimate, mean
from lightdan.systems.gaussian_field import GaussianField

CONFIGURATIONS, BLOCKS = 1000, 20
"""Number of held-out fields for the curvature, and of their blocks for its error."""


class RBMEquivalence(Measurement):
    """Kernel K of the action S = ½ φᵀ K φ, mode by mode, compared with Gaussian RBMs.

    The kernel of the network is its mean curvature over held-out fields, by autograd:

        K_θ = ⟨∂²(−ln p_θ)/∂φ∂φ⟩.

    For a linear-Gaussian network this is exactly (1 − B)ᵀ D⁻¹ (1 − B), whatever the field. Estimates:

    - `mode_<n>`: eigenvalue of K_θ at k = 2πn/L, for each pair ±k.
    - `largest_deviation`: relative deviation of the mode that is furthest from its exact value, with the
      error of that mode.
    - `kl`: KL(data‖model) as in `Hamiltonian`.

    The error of a mode combines two errors: of the average over fields, and of learning from M fields.
    The latter is at least the error K_k/√M of maximum likelihood, and √2 times that if k = −k. It is
    also at least the error estimated from the spread of the rows of K_θ, which symmetry makes equal.

    A Gaussian RBM with as many hidden as visible units has the precision μ² − σ² W Wᵀ, with W from a
    Cholesky factorisation, a symmetric root or any rotation of them. It replaces modes above μ² by μ².
    The figure shows RBMs for the exact K with μ² = m² + d, m² + 3d and m² + 5d, where d is the number of
    directions of bonds. The last μ² is above all modes, and its W is shown. The network has no cut-off,
    and its triangular matrix yields the same K.

    References:
        G. Aarts, B. Lucini and C. Park, Phys. Rev. D 109, 034521, arXiv:2309.15002.
    """

    name = "rbm_equivalence"

    def measure(self, ensemble: Ensemble) -> Result:
        """Measure K_θ mode by mode, and compare it with the RBMs."""
        system = ensemble.system
        if not isinstance(system, GaussianField):
            raise NotMeasurable(f"{type(system).__name__} is not a Gaussian field.")
        shape, exact = system.lattice_shape, system.spectrum
        parts = curvatures(ensemble)
        learned = parts.mean(0)
        if np.linalg.eigvalsh(learned)[0] <= 0:
            raise NotMeasurable("The mean curvature of −ln p_θ is not positive in all directions.")
        modes, errors = modes_with_errors(parts, shape, system.data.num_in("train"))
        names = {"mode_" + "_".join(map(str, k)): k for k in independent(shape)}
        estimates = {name: Estimate(float(modes[k]), float(errors[k])) for name, k in names.items()}
        worst = max(names.values(), key=lambda k: abs(modes[k] / exact[k] - 1))
        largest = abs(float(modes[worst] / exact[worst] - 1))
        estimates["largest_deviation"] = Estimate(largest, float(errors[worst] / exact[worst]))
        estimates["kl"] = mean(
            -ensemble.log_prob - ensemble.action - ensemble.exact["ln_z"], blocks=ensemble.blocks
        )
        directions = max(1, len(system.lattice.bond_classes))
        mu2 = [system.mass2 + factor * directions for factor in (1, 3, 5)]
        kernel = gaussian_field.kernel(system.lattice, system.mass2)
        weights, variances = gaussian_field.autoregressive(learned)
        arrays = {
            "modes": np.stack([modes, errors]),
            "exact": exact,
            "kernel": learned,
            "mu2": np.array(mu2),
            "cholesky": gaussian_field.machine(kernel, mu2[-1], triangular=True),
            "root": gaussian_field.machine(kernel, mu2[-1], triangular=False),
            "network": (np.eye(len(weights)) - weights) / np.sqrt(variances)[:, None],
        }
        notes = []
        for square in mu2:
            number = gaussian_field.representable(exact, square).sum()
            divergence = gaussian_field.machine_divergence(exact, square)
            notes.append(
                f"A Gaussian RBM with μ² = {square:g} keeps {number} of the {exact.size} modes; "
                f"its KL is {divergence:.3g} nats."
            )
        reference: dict[str, Reference] = {name: float(exact[k]) for name, k in names.items()}
        reference["kl"] = Bound(0.0, "≥")
        figure = self.figure(arrays, estimates["kl"])
        return Result(estimates, arrays, figure, reference, set(names), notes)

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], kl: Estimate) -> Figure:
        """Plot the modes and their deviations, and the matrices of RBMs and network."""
        figure = Figure(figsize=(7.0, 5.2), layout="constrained")
        mosaic = figure.subplot_mosaic("aaabbb;ccddee", height_ratios=[1.15, 1])
        left, right, *images = mosaic.values()
        draw_modes(left, arrays)
        draw_deviations(right, arrays, kl)
        top = max(np.abs(arrays[name]).max() for name in ("cholesky", "root", "network"))
        square = f"{arrays['mu2'][-1]:g}"
        for axes, (name, title, formula) in zip(
            images,
            [
                (
                    "cholesky",
                    rf"(c) RBM, $\mu^2={square}$: $\sigma W$, Cholesky",
                    r"$\mu^2-\sigma^2WW^T=K$",
                ),
                ("root", rf"(d) RBM, $\mu^2={square}$: $\sigma W$, root", ""),
                ("network", "(e) network: $F=D^{-1/2}(1-B)$", "$F^TF=K$"),
            ],
            strict=True,
        ):
            shown = axes.imshow(arrays[name], cmap="RdBu_r", vmin=-top, vmax=top)
            dress(axes, title)
            axes.text(0.97, 0.93, formula, ha="right", va="top", fontsize=8, transform=axes.transAxes)
            axes.set(xlabel="site" if name == "network" else "hidden unit", ylabel="site")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        figure.colorbar(shown, ax=images, shrink=0.8, aspect=15).ax.tick_params(labelsize=8)
        return figure


def draw_modes(axes: Axes, arrays: dict[str, np.ndarray]) -> None:
    """Plot all modes in ascending order, and the cut-off of each RBM."""
    exact = np.sort(arrays["exact"], axis=None)
    modes, errors = arrays["modes"].reshape(2, -1)[:, np.argsort(arrays["exact"], axis=None)]
    number = np.arange(1, len(exact) + 1)
    size = min(5.0, max(1.5, 100 / len(exact)))
    dress(axes, "(a) modes of $K$")
    axes.plot(number, exact, "_", ms=2.4 * size, color=EXACT, label="exact")
    axes.errorbar(number, modes, errors, fmt="o", ms=size, mfc="none", color=MODEL, label="network")
    for square, marker in zip(arrays["mu2"], "xx ", strict=True):
        below = gaussian_field.representable(exact, square)
        axes.axhline(square, lw=0.7, ls=":", color=DATA)
        label = "RBM, cut off" if square == arrays["mu2"][0] else None
        cut = np.full((~below).sum(), square)
        axes.plot(number[~below], cut, marker, ms=size, color=DATA, label=label)
        text = rf"RBM, $\mu^2={square:g}$: {below.sum()} of {len(below)} kept"
        place: dict[str, Any] = {"xytext": (0, 3), "textcoords": "offset points", "ha": "right"}
        axes.annotate(text, (number[-1] + 0.4, square), fontsize=7, color=DATA, **place)
    span = arrays["mu2"][-1] - exact[0]
    axes.set(xlabel="mode", ylabel="$K_k$", ylim=(exact[0] - 0.15 * span, exact[0] + 1.15 * span))
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.legend(frameon=False, fontsize=8, loc="lower right", borderaxespad=0.1)


def draw_deviations(axes: Axes, arrays: dict[str, np.ndarray], kl: Estimate) -> None:
    """Plot the relative deviations of the independent modes of the network, with errors."""
    exact, (modes, errors) = arrays["exact"], arrays["modes"]
    x, y, error = np.array([(exact[k], modes[k], errors[k]) for k in independent(exact.shape)]).T
    dress(axes, f"(b) network against exact; KL {kl} nats")
    axes.errorbar(x, 100 * (y / x - 1), 100 * error / x, fmt="o", ms=5, mfc="none", lw=1, color=MODEL)
    axes.axhline(0, lw=1, color=EXACT)
    axes.set(xlabel="$K_k$", ylabel=r"$K^\theta_k/K_k-1$ [%]")


def independent(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Return one of each pair of opposite wave numbers."""
    numbers = list(np.ndindex(*shape))
    return [k for k in numbers if k <= tuple(-n % side for n, side in zip(k, shape, strict=True))]


def curvatures(ensemble: Ensemble) -> np.ndarray:
    """Return the mean of ∂²(−ln p_θ)/∂φ∂φ over each block of held-out fields `(blocks, N, N)`."""
    fields = ensemble.configurations[:CONFIGURATIONS]
    return np.stack(
        [mean_hessian(ensemble, part) for part in fields.split(math.ceil(len(fields) / BLOCKS))]
    )


def mean_hessian(ensemble: Ensemble, fields: Tensor) -> np.ndarray:
    """Return the mean of ∂²(−ln p_θ)/∂φ∂φ over fields `(N, N)`."""
    # The trainer tests in inference mode, whose tensors autograd cannot use.
    with torch.inference_mode(False), torch.enable_grad():
        flat = fields.clone().flatten(1).requires_grad_()
        temperature = flat.new_full((len(flat),), ensemble.temperature)
        # The fused kernels of attention have no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            log_prob = ensemble.model.log_prob(flat.reshape(fields.shape), temperature)
        (slope,) = torch.autograd.grad(-log_prob.sum(), flat, create_graph=True)
        rows = [
            torch.autograd.grad(column, flat, retain_graph=True)[0].double().mean(0)
            for column in slope.sum(0)
        ]
    matrix = torch.stack(rows).cpu().numpy()
    return np.asarray((matrix + matrix.T) / 2)


def modes_with_errors(
    parts: np.ndarray, shape: tuple[int, ...], num_train: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return e_k† K_θ e_k and its error `(*lattice)` from the means over blocks of fields."""
    rows = gaussian_field.modes(parts.mean(0), shape)
    modes = rows.mean(0)
    by_block = np.stack([gaussian_field.modes(part, shape).mean(0) for part in parts])
    self_conjugate = np.all(
        [2 * n % side == 0 for n, side in zip(np.indices(shape), shape, strict=True)], 0
    )
    statistical = np.abs(modes) * np.sqrt(np.where(self_conjugate, 2, 1) / num_train)
    spread = rows.std(0) / math.sqrt(len(rows))
    averaging = by_block.std(0) / math.sqrt(max(1, len(parts) - 1))
    return modes, np.hypot(np.maximum(statistical, spread), averaging)
