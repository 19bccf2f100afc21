import math

import numpy as np
import pytest
import torch

from lightdan import MADE, Baselines, Recorded
from lightdan.measurements.ensemble import Ensemble
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
    assert note.startswith("The network loses to nearest_neighbour (by 1.0")
    assert "independent" not in note


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
