import math
import re

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, vonmises

from lightdan import MADE, Baselines, Recorded
from lightdan.conditionals import VonMisesMixture
from lightdan.data.samples import Samples
from lightdan.data.splits import SPLITS
from lightdan.measurements.couplings.baselines import verdict
from lightdan.measurements.couplings.likelihood import Likelihood, Unknown, num_chains
from lightdan.measurements.ensemble import Ensemble
from lightdan.statistics import Blocks
from lightdan.testing import all_configurations


def test_baselines_of_the_exact_model(measured):
    """Check that nearest neighbours explain as much as p itself, up to the errors of a fit."""
    estimates = Baselines(max_distance=1.5).measure(measured).estimates
    states = all_configurations((4, 4), (-1, 1))
    log_p = (-measured.system.energy(states) / measured.temperature).log_softmax(0)
    entropy = -(log_p.exp() @ log_p).item()
    assert abs(estimates["nll"].value - entropy) < 4 * estimates["nll"].error
    assert abs(estimates["nll_independent"].value - 16 * math.log(2)) < 0.02
    for name in ("nearest_neighbour", "pairs"):
        assert abs(estimates[f"gain_{name}"].value) < 4 * estimates[f"gain_{name}"].error + 0.01
        difference = estimates[f"nll_{name}"].value - estimates["nll"].value
        assert difference == pytest.approx(estimates[f"gain_{name}"].value, abs=1e-6)
    assert estimates["gain_independent"].value > 2


def test_a_network_that_loses_to_a_baseline_says_so(measured):
    worse = torch.as_tensor(measured.log_prob) - 1
    ensemble = Ensemble(measured.model, measured.system, measured.temperature, worse)
    (note,) = Baselines(max_distance=1.5).measure(ensemble).notes
    pattern = (
        r"The network loses to nearest neighbours with fields, by (.+)\(\d+\) nats per configuration: "
    )
    found = re.fullmatch(pattern + "use that simpler model.", note)
    assert float(found[1]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("gains", "sentence"),
    [
        ((5.0, 4.0), "The network is better than every simpler model, by 4.0(2) nats than the linear"),
        ((5.0, 0.1), "The network is no better than the linear regression on the sites before"),
        ((0.005, 0.0), "The network is no better than independent sites: the difference is 0.0(2) nats"),
        (
            (-2.0, -2.005),
            "The network loses to independent sites, by 2.0(2) nats per configuration: use",
        ),
        ((-1.0, -3.0), "The network loses to the linear regression on the sites before"),
    ],
)
def test_the_simplest_of_the_best_is_recommended(gains, sentence):
    noise = np.random.default_rng(0).normal(size=(3, 900)) * 0.2
    noise -= noise.mean(1, keepdims=True)
    network = Likelihood(noise[0], 0.2)
    others = {
        name: Likelihood(noise[1 + k] + gain)
        for k, (name, gain) in enumerate(zip(("independent", "linear"), gains, strict=True))
    }
    assert verdict(network, others).startswith(sentence)


def test_without_an_error_no_model_is_recommended():
    """A single block of rows tells no error, however much the network gains."""
    network = Likelihood(np.zeros(10), blocks=Blocks.single(10))
    sentence = verdict(network, {"independent": Likelihood(np.full(10, 5.0) + np.arange(10))})
    assert sentence.startswith("The held-out configurations are too few, or too correlated")


def exact_ensemble(folder, rows, states, log_p, counts=None, **options):
    """Return an ensemble whose network knows ln p of all states."""
    np.savez(folder / "rows.npz", rows=rows, **({} if counts is None else {"counts": counts}))
    system = Recorded(
        str(folder / "rows.npz"),
        dataset="rows",
        weights=None if counts is None else "counts",
        splits=(0.5, 0.1, 0.4),
        **options,
    )
    system.setup()
    known = {tuple(state): log for state, log in zip(states.tolist(), log_p, strict=True)}
    held_out = system.data.rows("test", 1.0).tolist()
    exact = torch.tensor([known[tuple(row)] for row in held_out])
    return Ensemble(MADE.for_system(system, width=1), system, 1.0, exact)


def potts(num_sites, seed=0):
    """Return all states of three levels with random pairs and fields, and ln p."""
    rng = np.random.default_rng(seed)
    states = np.stack(np.meshgrid(*[np.arange(3)] * num_sites, indexing="ij"), -1).reshape(-1, num_sites)
    log_p = sum(
        rng.normal(size=(3, 3))[states[:, i], states[:, j]]
        for i in range(num_sites)
        for j in range(i + 1)
    )
    return states, log_p - np.logaddexp.reduce(log_p)


def test_levels_have_all_pairs_with_their_likelihood(tmp_path):
    states, log_p = potts(5)
    rows = states[np.random.default_rng(1).choice(len(states), 8_000, p=np.exp(log_p))]
    result = Baselines().measure(exact_ensemble(tmp_path, rows, states, log_p))
    gains = {name: result.estimates[f"gain_{name}"] for name in ("independent", "linear", "pairs")}
    assert gains["pairs"].value > -2 * gains["pairs"].error
    assert gains["pairs"].value < 0.02  # half of 10 · 4 + 10 couplings over 4,000 rows, and the prior
    assert gains["pairs"].error < 0.003
    assert 0 < gains["linear"].value < gains["independent"].value - 0.5
    assert "nll_nearest_neighbour" not in result.estimates


def test_counts_are_repeated_rows(tmp_path):
    """Check all models on the same split, once with counts and once with repeated rows."""
    rng = np.random.default_rng(0)
    states = np.array((np.arange(2**6)[:, None] >> np.arange(6) & 1) * 2 - 1, np.int8)
    log_p = states @ rng.normal(size=6) + (states[:, 1:] * states[:, :-1]) @ rng.normal(size=5)
    log_p -= np.logaddexp.reduce(log_p)
    counts = rng.multinomial(3_000, np.exp(log_p))
    counted = exact_ensemble(tmp_path, states, states, log_p, counts)
    data = counted.system.data
    first = Baselines().measure(counted).estimates
    order = {name: torch.randperm(int(data.weights(name, 1.0).sum())) for name in SPLITS}
    known = torch.tensor(counted.log_prob).repeat_interleave(data.weights("test", 1.0))[order["test"]]
    repeated = {
        name: data.rows(name, 1.0).repeat_interleave(data.weights(name, 1.0), 0)[order[name]]
        for name in SPLITS
    }
    ends = np.cumsum([0, *(len(rows) for rows in repeated.values())])
    counted.system.data = Samples(
        torch.cat([*repeated.values()]),
        torch.ones(3_000),
        {name: torch.arange(a, b) for name, a, b in zip(repeated, ends, ends[1:], strict=False)},
        [1.0],
        [0.5],
    )
    second = Baselines().measure(Ensemble(counted.model, counted.system, 1.0, known)).estimates
    for name, estimate in first.items():
        # The widths of the priors may differ, because other rows choose them.
        assert second[name].value == pytest.approx(estimate.value, abs=0.003), name
        assert second[name].error == pytest.approx(estimate.error, rel=0.5, abs=1e-4), name


def chain_of_angles(num, seed=0):
    """Draw a chain p ∝ e^{Σ cos(θ_i − θ_{i+1} − 1)} of five angles; return it and ln p in dθ/2π."""
    steps = np.random.default_rng(seed).vonmises(1, 1.5, (num, 4))
    first = 2 * math.pi * np.random.default_rng([seed, 1]).random((num, 1))
    angles = np.cumsum(np.concatenate([first, steps], 1), 1) % (2 * math.pi)
    return angles, vonmises.logpdf(steps, 1.5, 1).sum(1) + 4 * math.log(2 * math.pi)


def with_log_p(folder, rows, log_p, **options):
    """Return an ensemble of continuous rows with ln p."""
    np.save(folder / "rows.npy", rows)
    system = Recorded(str(folder / "rows.npy"), splits=(0.5, 0.1, 0.4), **options)
    system.setup()
    exact = torch.as_tensor(log_p)[system.data.indices["test"]]
    return Ensemble(MADE.for_system(system, width=1), system, 1.0, exact)


def test_angles_have_all_pairs_with_their_likelihood(tmp_path):
    """Check a chain, which regressions on the sites before and pairs both contain."""
    ensemble = with_log_p(tmp_path, *chain_of_angles(8_000), values="angle")
    estimates = Baselines().measure(ensemble).estimates
    for name in ("linear", "pairs"):
        gain = estimates[f"gain_{name}"]
        assert -2 * gain.error < gain.value < 0.02
    assert estimates["nll_independent"].value == pytest.approx(0, abs=0.02)


def test_networks_and_baselines_of_angles_have_one_measure(tmp_path):
    """Check that a network of independent, uniform angles wins nothing over simpler models."""
    np.save(tmp_path / "rows.npy", 2 * math.pi * np.random.default_rng(0).random((2_000, 5)))
    system = Recorded(str(tmp_path / "rows.npy"), values="angle")
    system.setup()
    network = MADE.for_system(system, width=1, conditional=VonMisesMixture(components=1))
    for weight in network.parameters():
        torch.nn.init.zeros_(weight)
    estimates = Baselines().measure(Ensemble(network, system, 1.0)).estimates
    assert estimates["nll"].value == pytest.approx(0, abs=1e-6)
    for name in ("independent", "linear", "pairs"):
        assert abs(estimates[f"gain_{name}"].value) < 0.1


def test_fields_have_their_linear_regression_in_any_units(tmp_path):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    normal = multivariate_normal(np.full(6, 300.0), 1e-4 * root @ root.T)
    rows = normal.rvs(4_000, random_state=1)
    ensemble = with_log_p(tmp_path, rows, normal.logpdf(rows), values="real")
    result = Baselines().measure(ensemble)
    gain = result.estimates["gain_linear"]
    assert -2 * gain.error < gain.value < 0.03  # 27 parameters over twice 2,000 rows, and the prior
    assert result.estimates["gain_independent"].value > 1
    assert result.notes[0].startswith("The network is ")
    assert "nll_pairs" not in result.estimates


@pytest.mark.parametrize("kind", ["angle", "level", "real"])
def test_uniform_lattices_have_uniform_pairs(tmp_path, kind):
    """Check p of a periodic chain by transfer matrices on a grid."""
    grid = {
        "angle": 2 * math.pi * np.arange(64) / 64,
        "level": np.arange(3.0),
        "real": np.linspace(-4, 4, 81),
    }[kind]
    a, b = grid[:, None], grid
    bond = {
        "angle": 1.2 * np.cos(a - b),
        "level": 0.8 * (a == b),
        "real": 0.5 * a * b - (a**2 + b**2) / 4 - (a**4 + b**4) / 20,
    }[kind]
    matrix = np.exp(bond)
    power = np.linalg.matrix_power
    rng = np.random.default_rng(0)
    places = np.empty((4_000, 6), int)
    p = np.diag(power(matrix, 6))
    places[:, 0] = rng.choice(len(grid), 4_000, p=p / p.sum())
    for site in range(1, 6):
        weights = matrix[places[:, site - 1]] * power(matrix, 6 - site)[:, places[:, 0]].T
        ends = weights.cumsum(1)
        places[:, site] = (rng.random((4_000, 1)) * ends[:, -1:] > ends).sum(1)
    log_p = bond[places, np.roll(places, -1, 1)].sum(1) - np.log(np.trace(power(matrix, 6)))
    if kind != "level":
        log_p -= 6 * math.log((grid[1] - grid[0]) / (2 * math.pi if kind == "angle" else 1))
    rows = grid[places].astype(np.int8 if kind == "level" else np.float64)
    if kind == "angle":  # no angle twice, or bins would find the grid
        rows += grid[1] * rng.random(rows.shape)
    ensemble = with_log_p(tmp_path, rows, log_p, values=kind, boundary="periodic")
    estimates = Baselines().measure(ensemble).estimates
    gain = estimates["gain_pairs"]
    assert -3 * gain.error < gain.value < 0.02
    assert gain.error < 0.02
    assert estimates["gain_independent"].value > 0.2


def test_without_translations_sites_and_bonds_have_their_own_couplings(tmp_path):
    """Check the likelihoods of a chain with random fields and bonds, whose distribution is known."""
    rng = np.random.default_rng(0)
    fields, bonds = rng.normal(size=10), rng.normal(size=9)
    states = np.array((np.arange(2**10)[:, None] >> np.arange(10) & 1) * 2 - 1, np.int8)
    log_p = states @ fields + (states[:, 1:] * states[:, :-1]) @ bonds
    log_p -= np.logaddexp.reduce(log_p)
    p = np.exp(log_p)
    np.save(tmp_path / "rows.npy", states[rng.choice(1024, 8_000, p=p / p.sum())])
    system = Recorded(str(tmp_path / "rows.npy"), splits=(0.5, 0.1, 0.4))
    system.setup()
    ensemble = Ensemble(MADE(lattice_shape=(10,)), system, 1.0)
    places = (ensemble.configurations > 0).long() @ 2 ** torch.arange(10)
    exact = Ensemble(ensemble.model, system, 1.0, torch.as_tensor(log_p)[places])
    estimates = Baselines().measure(exact).estimates
    entropy = -p @ log_p
    for name in ("nearest_neighbour", "pairs"):
        assert abs(estimates[f"nll_{name}"].value - entropy) < 4 * estimates[f"nll_{name}"].error
        assert estimates[f"gain_{name}"].value > -2 * estimates[f"gain_{name}"].error
        assert estimates[f"gain_{name}"].value < 0.02  # half the number of couplings over 4,000 rows
    assert estimates["gain_independent"].value > 0.5


def test_what_takes_too_long_is_withheld_with_the_reason(tmp_path):
    rows = np.random.default_rng(0).integers(100, size=(150, 30)).astype(np.int8)
    ensemble = with_log_p(tmp_path, rows, np.zeros(150), values="level")
    result = Baselines().measure(ensemble)
    reason = "is withheld, because a regression with 2,970 inputs takes too long."
    assert [reason in note for note in result.notes] == [False, True, True]
    assert {"nll", "nll_independent", "gain_independent"} == result.estimates.keys()
    with pytest.raises(Unknown, match="ln Z with 104,652 terms takes too long"):
        num_chains(324 * 323)
