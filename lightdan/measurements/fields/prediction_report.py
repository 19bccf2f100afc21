"""Test of a predicted action against the exact one, for ``lightdan predict-action``."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lightdan import registry
from lightdan.architectures.base import Architecture
from lightdan.checks import check_seed
from lightdan.data.files import check_writable
from lightdan.measurements.fields.correlator import correlations, gap, two_levels_from
from lightdan.measurements.fields.prediction import PredictedAction, Trained, predicted_action
from lightdan.measurements.figures import DATA, EXACT, MODEL, legends, panels
from lightdan.measurements.hamiltonian import line
from lightdan.measurements.report import Result, Summary, write_result
from lightdan.measurements.table import Reference
from lightdan.statistics import Bound, Estimate, jackknife, mean
from lightdan.systems.path import Path

HELD_OUT = 4000
"""Number of exact paths on which the predicted action is compared with the true one."""


def predict_action(
    ckpt_paths: list[str],
    beta: float,
    conditioned: str | None = None,
    trajectories: int = 400,
    seed: int = 0,
    output: str = "runs/predict-action",
    classes: list[str] | None = None,
) -> None:
    """Predict the action of paths at a third β from models of two others.

    Paths are drawn from the predicted action. If the system is known, the action and the paths are
    compared with the exact ones.

    Args:
        ckpt_paths: Checkpoints of two models at one β each, or of one model trained at two β.
        beta: Inverse temperature β at which the action is predicted.
        conditioned: Checkpoint of a model with temperature input, for comparison.
        trajectories: Number of recorded trajectories of hybrid Monte Carlo in each of the 256 chains.
        seed: Random seed.
        output: Directory of the results.
        classes: Classes in files of your own that the checkpoints name, as in coins.Window.

    Raises:
        ValueError: An argument is wrong, or the models do not fit together.
    """
    if trajectories < 2:
        raise ValueError(f"--trajectories must be at least 2, not {trajectories}.")
    check_seed("--seed", seed)
    registry.import_classes(classes or [])
    trained = [Trained.load(path) for path in ckpt_paths]
    predicted = predicted_action(trained, beta)
    network = None
    if conditioned:
        network = Trained.load(conditioned).model
        sites = predicted.models[0].lattice_shape
        if not network.temperature_input or network.lattice_shape != sites:
            raise ValueError(
                f"The model {conditioned} does not match; pass one with temperature_input and {sites} "
                "sites."
            )
    directory = FilePath(output)
    check_writable(directory, "--output")
    system = trained[0].system_at(beta)
    results = {
        "predicted_action": by_algebra(predicted, system, trajectories, seed, trained[0].system_at)
    }
    if network is not None:
        results["conditioned"] = by_network(network, system, 1 / beta, seed)
    summary = Summary()
    for name, result in results.items():
        summary.add(name, result)
        context = {"betas": predicted.betas, "beta": beta, "ckpt_paths": ckpt_paths}
        write_result(directory, name, result, context)
    first, second = (f"beta={value:g}" for value in predicted.betas)
    summary.show(f"{first}, {second} → beta={beta:g}", directory)


def by_algebra(
    predicted: PredictedAction,
    system: Path | None,
    trajectories: int,
    seed: int,
    system_at: Callable[[float], Path | None],
) -> Result:
    """Compare the predicted S_3 with the true one, and its ensemble with exact results.

    Estimates on exact paths at β_3:

    - `slope`, `r2`: straight line of S_3 against the true S; `kinetic_r2`, `potential_r2` of its parts.
    - `residual`: standard deviation of S_3 − S.
    - `residual_expected`: √(c_1² r_1² + c_2² r_2²), r_i the residual of model i at β_i.

    Estimates on paths sampled from S_3:

    - `x2`, `x4`, `kinks`, `gap`: moments, kinks per path and energy gap.
    - `correlator_max_deviation`: largest |C(τ) − C_exact(τ)| with the error at that τ.

    A note states the effective sample size that reweighting paths of both models would have.
    """
    estimates: dict[str, Estimate] = {}
    reference: dict[str, Reference] = {}
    arrays: dict[str, np.ndarray] = {}
    c1, c2 = predicted.coefficients
    notes = [f"S_3 = {c1:.6g} S_1 + {c2:.6g} S_2 + C."]
    if system is not None:
        paths = exact_paths(system, seed)
        true = true_action(system, paths)
        learned = evaluate(predicted, paths, predicted.models[0])
        estimates |= against(true, learned)
        reference |= {"slope": 1.0, "r2": Bound(1.0, "≤")}
        parts = evaluate(lambda x: torch.stack(predicted.parts(x)), paths, predicted.models[0])
        temperature = 1 / predicted.beta
        for name, part, exact in zip(
            ("kinetic_r2", "potential_r2"),
            parts,
            (system.kinetic(paths, temperature), system.potential_action(paths, temperature)),
            strict=True,
        ):
            estimates[name] = line(exact.numpy(), part)["r2"]
            reference[name] = Bound(1.0, "≤")
        estimates["residual_expected"] = expected_residual(predicted, system_at, seed)
        arrays |= {"action": true, "predicted": learned}
    rows, numbers = predicted.sample(trajectories, seed)
    ensemble, reference_of_ensemble = describe(rows, system, seed, arrays)
    estimates |= ensemble
    reference |= reference_of_ensemble
    notes.append(
        f"{len(rows)} chains of {trajectories} trajectories, acceptance {numbers['acceptance']:.2f}; "
        "reweighting the paths of both models instead would have an effective sample size of "
        f"{100 * numbers['ess_of_reweighting']:.2g} %."
    )
    return Result(estimates, arrays, figure(arrays), reference, notes=notes)


def by_network(model: Architecture, system: Path | None, temperature: float, seed: int) -> Result:
    """Compare −ln p and samples of a network with temperature_input, at β_3, with exact results."""
    estimates: dict[str, Estimate] = {}
    reference: dict[str, Reference] = {}
    arrays: dict[str, np.ndarray] = {}
    if system is not None:
        paths = exact_paths(system, seed)
        true = true_action(system, paths)
        learned = -evaluate(partial(log_prob, model, temperature), paths, model)
        estimates |= against(true, learned)
        reference |= {"slope": 1.0, "r2": Bound(1.0, "≤")}
        arrays |= {"action": true, "predicted": learned}
    samples = model.sample(10_000, seed, temperature).cpu().numpy()
    ensemble, reference_of_ensemble = describe(samples[:, None], system, seed, arrays)
    return Result(estimates | ensemble, arrays, figure(arrays), reference | reference_of_ensemble)


def exact_paths(system: Path, seed: int) -> Tensor:
    """Return independent paths of the system `(M, N)` in float64."""
    parts = system.solution(system.temperatures[0]).sample(HELD_OUT, seed + 1)
    return torch.from_numpy(np.concatenate(list(parts)))


def true_action(system: Path, paths: Tensor) -> np.ndarray:
    """Return S of paths `(M,)`."""
    return system.action(paths, system.temperatures[0]).numpy()


def log_prob(model: Architecture, temperature: float, paths: Tensor) -> Tensor:
    """Return ln p of paths `(B,)` at a temperature."""
    return model.log_prob(paths, paths.new_full((len(paths),), temperature))


@torch.no_grad()
def evaluate(function: Callable[[Tensor], Tensor], paths: Tensor, model: Architecture) -> np.ndarray:
    """Evaluate a function of paths, 1,000 at a time, in the precision of the model: `(..., M)`."""
    device, dtype = model.device, next(model.parameters()).dtype
    parts = [function(part.to(device, dtype)).double().cpu() for part in paths.split(1000)]
    return torch.cat(parts, dim=-1).numpy()


def against(true: np.ndarray, learned: np.ndarray) -> dict[str, Estimate]:
    """Return slope and R² of the line, and the standard deviation of the difference."""
    fit = line(true, learned)
    difference = learned - true
    return {"slope": fit["slope"], "r2": fit["r2"], "residual": deviation(difference)}


def deviation(values: np.ndarray) -> Estimate:
    """Return the standard deviation with its error."""
    shifted = values - values.mean()
    return jackknife(lambda x, xx: math.sqrt(max(xx - x * x, 0.0)), shifted, shifted**2)


def expected_residual(
    predicted: PredictedAction, system_at: Callable[[float], Path | None], seed: int
) -> Estimate:
    """Return √(c_1² r_1² + c_2² r_2²), r_i the residual of model i on exact paths at β_i."""
    squares, errors = 0.0, 0.0
    for model, beta, c in zip(predicted.models, predicted.betas, predicted.coefficients, strict=True):
        system = system_at(beta)
        assert system is not None
        paths = exact_paths(system, seed)
        learned = -evaluate(partial(log_prob, model, 1 / beta), paths, model)
        residual = deviation(learned - true_action(system, paths))
        squares += (c * residual.value) ** 2
        errors += (c**2 * residual.value * residual.error) ** 2
    total = math.sqrt(squares)
    return Estimate(total, math.sqrt(errors) / total)


def describe(
    rows: np.ndarray, system: Path | None, seed: int, arrays: dict[str, np.ndarray]
) -> tuple[dict[str, Estimate], dict[str, Reference]]:
    """Return moments, kinks and gap of paths `(chains, rows, N)`, and their exact values.

    The correlator and the density are added to the arrays.
    """
    chains, length, sites = rows.shape
    paths = torch.from_numpy(rows.reshape(-1, sites).astype(np.float64))
    functions: dict[str, Any] = {"x2": lambda x: x.square().mean(1), "x4": lambda x: x.pow(4).mean(1)}
    reference: dict[str, Reference] = {}
    if system is not None:
        temperature = system.temperatures[0]
        exact, observables = system.exact_values(temperature), system.observables(temperature)
        if "kinks" in observables:
            functions["kinks"] = observables["kinks"]
        reference |= {name: exact[name] for name in (*functions, "gap")}
    estimates = {
        name: mean(function(paths).numpy().reshape(chains, length))
        for name, function in functions.items()
    }
    products = correlations(paths)
    curve = np.array([mean(column.reshape(chains, length)) for column in products.T])
    arrays["correlator"] = curve
    density, edges = np.histogram(rows, 80, density=True)
    arrays |= {"density": density, "edges": edges}
    if system is None:
        return estimates, reference
    solved = system.solution(temperature)
    first = two_levels_from(solved)
    # Chains of one row are independent samples; otherwise the chains are independent.
    blocks = products if length == 1 else products.reshape(chains, length, -1).mean(1)
    estimates["gap"] = gap(blocks, np.ones(len(blocks)), first, sites, solved.spacing)
    arrays["correlator_exact"] = solved.correlator()[: len(curve)]
    arrays["time"] = solved.spacing * np.arange(len(curve))
    off = np.abs(curve[:, 0] - arrays["correlator_exact"])
    worst = int(off.argmax())
    estimates["correlator_max_deviation"] = Estimate(float(off[worst]), float(curve[worst, 1]))
    arrays["density_exact"] = np.histogram(exact_paths(system, seed).numpy(), edges, density=True)[0]
    return estimates, reference


def figure(arrays: dict[str, np.ndarray]) -> Figure | None:
    """Plot S_3 against the true S, P(x) and C(τ)."""
    if "action" not in arrays:
        return None
    plot, (left, middle, right) = panels(3)
    action, learned = arrays["action"], arrays["predicted"]
    shifted = learned - learned.mean() + action.mean()
    left.plot(action, shifted, ".", ms=1.5, color=DATA, alpha=0.4, rasterized=True)
    ends = np.array([action.min(), action.max()])
    left.plot(ends, ends, "-", lw=1, color=EXACT)
    left.set(xlabel="$S$", ylabel=r"$S_3$ predicted")
    middle.stairs(arrays["density"], arrays["edges"], color=MODEL, label="predicted")
    middle.stairs(arrays["density_exact"], arrays["edges"], color=EXACT, label="exact")
    middle.set(xlabel="$x$", ylabel="$P(x)$")
    values, errors = arrays["correlator"].T
    right.errorbar(
        arrays["time"],
        values,
        errors,
        fmt="o",
        ms=2.5,
        lw=0.7,
        mfc="none",
        color=MODEL,
        label="predicted",
    )
    right.plot(arrays["time"], arrays["correlator_exact"], "-", lw=1, color=EXACT, label="exact")
    right.set(xlabel=r"$\tau$", ylabel=r"$C(\tau)$")
    legends((middle, right))
    return plot
