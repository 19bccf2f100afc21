"""Graph of the couplings of disordered angles or fields."""

import math

import numpy as np
from matplotlib.figure import Figure

from lightdan.interactions.screening import centres_of, find_pairs, graph_operators
from lightdan.measurements.couplings.effective_hamiltonian import EffectiveHamiltonian
from lightdan.measurements.couplings.own_simulation import OwnSimulation
from lightdan.measurements.couplings.projection import explained
from lightdan.measurements.couplings.sources import all_configurations, all_weights
from lightdan.measurements.ensemble import Ensemble, NotMeasurable
from lightdan.measurements.figures import EXACT, MODEL, panels
from lightdan.measurements.report import Result
from lightdan.progress import progress_bar
from lightdan.statistics import Estimate

SIMULATED = 1_000
"""Number of configurations by which a Hamiltonian is judged."""


def measure(ensemble: Ensemble, num_samples: int, seed: int) -> Result:
    """Find the pairs of angles or fields that interact, and fit their couplings.

        H = −Σ_<ij> K_ij cos(θ_i − θ_j − A_ij),  H = −Σ_<ij> J_ij φ_i φ_j − Σ_i,p c_ip φ_i^p

    Args:
        ensemble: Model, data and temperature.
        num_samples: Number of network samples, and largest number of held-out configurations.
        seed: Random seed of the samples.

    Raises:
        NotMeasurable: There are too few configurations, or no pair interacts.
    """
    system = ensemble.system
    rows, weights = all_configurations(ensemble), all_weights(ensemble)
    block_size = system.block_size(ensemble.temperature)
    try:
        with progress_bar("Searching for couplings", None) as advance:
            pairs = find_pairs(rows, system.site_kind, block_size, advance, weights)
    except ValueError as reason:
        raise NotMeasurable(str(reason)) from reason
    if not pairs:
        raise NotMeasurable("No pair of sites interacts significantly.")
    centres = centres_of(rows) if system.site_kind == "real" else None
    operators = graph_operators(system.site_kind, system.num_sites, pairs, centres)
    effective = EffectiveHamiltonian(ensemble, operators, num_samples, seed)
    corrected = effective.corrected
    parts = 2 if system.site_kind == "angle" else 1
    num = parts * len(pairs)
    arrays = {"sites": np.array(pairs)}
    for name, couplings, covariance in (
        ("couplings", corrected.couplings, corrected.covariance),
        ("network", corrected.network.couplings, np.diag(corrected.network_errors**2)),
    ):
        blocks = covariance[:num, :num].reshape(len(pairs), parts, len(pairs), parts)
        own = blocks[range(len(pairs)), :, range(len(pairs))]
        values = couplings[:num].reshape(-1, parts)
        arrays[name] = np.stack([values[:, 0], np.sqrt(own[:, 0, 0])], axis=1)
        if parts == 2:
            arrays[name], arrays[f"{name}_phase"] = polar(values, own)
    k, errors = arrays["couplings"].T
    noise = corrected.covariance.diagonal()[:num].reshape(-1, parts).sum(axis=1)
    square = max(0.0, float((k**2 - noise).mean()))
    error = float(np.sqrt((k**2 * errors**2).sum())) / len(k)
    deviation = arrays["network"][:, 0] - k
    estimates = {
        "rms_bond": Estimate(math.sqrt(square), error / math.sqrt(square or 1.0)),
        "network_rms_deviation": Estimate(
            float(np.sqrt((deviation**2).mean())),
            float(np.sqrt((deviation**2).mean() / (2 * len(k)))),
        ),
    }
    notes = [f"Pairs found: {len(pairs)} of {system.num_sites * (system.num_sites - 1) // 2}."]
    if centres is not None and centres.any():
        notes.append(
            f"Fields are far from 0, so couplings are those of φ − c, with c from {centres.min():g} to "
            f"{centres.max():g} in the file."
        )
    result = Result(estimates | explained(effective), arrays, figure(arrays), notes=notes)
    own_simulation = OwnSimulation(ensemble, effective.hamiltonian, SIMULATED, seed)
    if own_simulation.is_bounded(result):
        own_simulation.add_to(result)
    result.attachments["hamiltonian.json"] = effective.hamiltonian.to_json()
    return result


def polar(values: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return modulus K and phase A of couplings (K cos A, K sin A), with errors `(pairs, 2)` each.

    Args:
        values: Couplings of cosine and sine `(pairs, 2)`.
        covariance: Their covariances `(pairs, 2, 2)`.
    """
    modulus = np.hypot(*values.T)
    along = values / modulus[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    errors = [np.sqrt(np.einsum("pa,pab,pb->p", v, covariance, v)) for v in (along, across)]
    phase = np.arctan2(values[:, 1], values[:, 0]) % (2 * math.pi)
    return np.stack([modulus, errors[0]], 1), np.stack([phase, errors[1] / modulus], 1)


def figure(arrays: dict[str, np.ndarray]) -> Figure:
    """Plot the distribution of the couplings, and the network's against the estimates."""
    drawing, (left, right) = panels(2)
    values, errors = arrays["couplings"].T
    left.hist(values, 30, histtype="step", color=MODEL)
    left.set(xlabel=r"$\beta K$", ylabel="pairs")
    ends = np.array([values.min(), values.max()])
    network, error = arrays["network"].T
    right.plot(ends, ends, "-", lw=1, color=EXACT)
    right.errorbar(values, network, error, errors, fmt=".", ms=3, lw=0.7, color=MODEL)
    right.set(xlabel=r"$\beta K$", ylabel=r"$\beta K$ of the network alone")
    return drawing
