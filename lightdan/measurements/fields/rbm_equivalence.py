"""The kernel of a Gaussian field, as the network has it and as restricted Boltzmann machines do."""

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
from lightdan.measurements.figures import DATA, EXACT, MODEL, dress, legends
from lightdan.measurements.report import Result
from lightdan.simulation import gaussian_field
from lightdan.statistics import Estimate, mean
from lightdan.systems.gaussian_field import GaussianField

CONFIGURATIONS, BLOCKS = 1000, 20
"""Over which the curvature is averaged, and in how many parts for its error."""


class RBMEquivalence(Measurement):
    """K of S = ½ φᵀ K φ from the network, mode by mode, beside what restricted Boltzmann machines have.

    K_θ = ⟨∂²(−ln p_θ)/∂φ∂φ⟩ over held-out fields, by autograd: of a linear-Gaussian network exactly
    (1 − B)ᵀ D⁻¹ (1 − B), whatever the field. Estimates: `mode_<n>`, its mode at k = 2πn/L, for each
    pair ±k; `largest_deviation`, of the mode that is furthest from the exact one, relative to it, with
    the error of that mode; and `kl`, KL(data‖model) as in `Hamiltonian`.

    The error of a mode has two parts: that of the average over fields, and that of learning from M of
    them. The latter is at least K_k/√M, that of maximum likelihood (√2 times it where k = −k), and at
    least what the rows of K_θ, which symmetry makes alike, tell of it by how they differ.

    A Gaussian machine with as many hidden units has the precision μ² − σ² W Wᵀ, W by Cholesky
    factorisation, symmetric root or any rotation of them, and of the modes above μ² it has μ² instead.
    The figure shows those of the exact K with μ² = m² + d, m² + 3d and m² + 5d, the last of which is
    above all modes, and its W. The network has no such cut-off; its triangular matrix makes the same K
    of other numbers.

    Source: G. Aarts, B. Lucini and C. Park, Phys. Rev. D 109, 034521, arXiv:2309.15002.
    """

    name = "rbm_equivalence"

    def measure(self, ensemble: Ensemble) -> Result:
        """K_θ mode by mode, and the machines'."""
        system = ensemble.system
        if not isinstance(system, GaussianField):
            raise NotMeasurable(f"{type(system).__name__} is no Gaussian field")
        shape, exact = system.lattice_shape, system.spectrum
        parts = curvatures(ensemble)
        learned = parts.mean(0)
        if np.linalg.eigvalsh(learned)[0] <= 0:
            raise NotMeasurable("the mean curvature of −ln p_θ is not positive in all directions")
        modes, errors = modes_with_errors(parts, shape, system.num_in("train"))
        names = {"mode_" + "_".join(map(str, k)): k for k in independent(shape)}
        estimates = {name: Estimate(float(modes[k]), float(errors[k])) for name, k in names.items()}
        worst = max(names.values(), key=lambda k: abs(modes[k] / exact[k] - 1))
        largest = abs(float(modes[worst] / exact[worst] - 1))
        estimates["largest_deviation"] = Estimate(largest, float(errors[worst] / exact[worst]))
        estimates["kl"] = mean(-ensemble.log_prob - ensemble.action - ensemble.exact["ln_z"])
        dimensions = max(1, sum(side > 1 for side in shape))
        mu2 = [system.mass2 + factor * dimensions for factor in (1, 3, 5)]
        kernel = gaussian_field.kernel(shape, system.mass2)
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
            number = gaussian_field.kept(exact, square).sum()
            divergence = gaussian_field.machine_divergence(exact, square)
            notes.append(
                f"a restricted Boltzmann machine with μ² = {square:g} keeps {number} of the "
                f"{exact.size} modes; its KL is {divergence:.3g} nats."
            )
        reference = {name: float(exact[k]) for name, k in names.items()}
        figure = self.figure(arrays, estimates["kl"])
        return Result(estimates, arrays, figure, reference, set(names), notes)

    @staticmethod
    def figure(arrays: dict[str, np.ndarray], kl: Estimate) -> Figure:
        """The modes and their deviations; the matrices that make them."""
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
    """All modes in ascending order, and where each machine cuts them off."""
    exact = np.sort(arrays["exact"], axis=None)
    modes, errors = arrays["modes"].reshape(2, -1)[:, np.argsort(arrays["exact"], axis=None)]
    number = np.arange(1, len(exact) + 1)
    size = min(5.0, max(1.5, 100 / len(exact)))
    dress(axes, "(a) modes of $K$")
    axes.plot(number, exact, "_", ms=2.4 * size, color=EXACT, label="exact")
    axes.errorbar(number, modes, errors, fmt="o", ms=size, mfc="none", color=MODEL, label="network")
    for square, marker in zip(arrays["mu2"], "xx ", strict=True):
        kept = gaussian_field.kept(exact, square)
        axes.axhline(square, lw=0.7, ls=":", color=DATA)
        label = "RBM, cut off" if square == arrays["mu2"][0] else None
        cut = np.full((~kept).sum(), square)
        axes.plot(number[~kept], cut, marker, ms=size, color=DATA, label=label)
        text = rf"RBM, $\mu^2={square:g}$: {kept.sum()} of {len(kept)} kept"
        place: dict[str, Any] = {"xytext": (0, 3), "textcoords": "offset points", "ha": "right"}
        axes.annotate(text, (number[-1] + 0.4, square), fontsize=7, color=DATA, **place)
    span = arrays["mu2"][-1] - exact[0]
    axes.set(xlabel="mode", ylabel="$K_k$", ylim=(exact[0] - 0.15 * span, exact[0] + 1.15 * span))
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    legends([axes])


def draw_deviations(axes: Axes, arrays: dict[str, np.ndarray], kl: Estimate) -> None:
    """Those of the independent modes of the network, with their errors."""
    exact, (modes, errors) = arrays["exact"], arrays["modes"]
    x, y, error = np.array([(exact[k], modes[k], errors[k]) for k in independent(exact.shape)]).T
    dress(axes, f"(b) network against exact; KL {kl} nats")
    axes.errorbar(x, 100 * (y / x - 1), 100 * error / x, fmt="o", ms=5, mfc="none", lw=1, color=MODEL)
    axes.axhline(0, lw=1, color=EXACT)
    axes.set(xlabel="$K_k$", ylabel=r"$K^\theta_k/K_k-1$ [%]")


def independent(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """One of each pair of opposite wave numbers."""
    numbers = list(np.ndindex(*shape))
    return [k for k in numbers if k <= tuple(-n % side for n, side in zip(k, shape, strict=True))]


def curvatures(ensemble: Ensemble) -> np.ndarray:
    """∂²(−ln p_θ)/∂φ∂φ, its means over parts of the held-out fields `(parts, N, N)`."""
    fields = ensemble.configurations[:CONFIGURATIONS]
    return np.stack(
        [mean_hessian(ensemble, part) for part in fields.split(math.ceil(len(fields) / BLOCKS))]
    )


def mean_hessian(ensemble: Ensemble, fields: Tensor) -> np.ndarray:
    """The mean of ∂²(−ln p_θ)/∂φ∂φ over fields `(N, N)`."""
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
    """e_k† K_θ e_k and its error `(*lattice)`, from the means over parts of the fields."""
    rows = gaussian_field.modes(parts.mean(0), shape)
    modes = rows.mean(0)
    of_part = np.stack([gaussian_field.modes(part, shape).mean(0) for part in parts])
    own_opposite = np.all(
        [2 * n % side == 0 for n, side in zip(np.indices(shape), shape, strict=True)], 0
    )
    statistical = np.abs(modes) * np.sqrt(np.where(own_opposite, 2, 1) / num_train)
    spread = rows.std(0) / math.sqrt(len(rows))
    averaging = of_part.std(0) / math.sqrt(max(1, len(parts) - 1))
    return modes, np.hypot(np.maximum(statistical, spread), averaging)
