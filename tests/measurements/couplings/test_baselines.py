import math

import pytest
import torch

from lightdan import Baselines
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
