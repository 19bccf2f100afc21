"""Errors of couplings from a network and correlated files cover the truth."""

import numpy as np
import pytest
from intervals import TAU, TRUTHS, data_set, pulls_of_couplings

from lightdan import Recorded

FEW = {"spin": 40, "level": 20, "angle": 30, "real": 30}
"""Number of data sets by kind of site."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The rows of .* are correlated")
@pytest.mark.parametrize(("num", "tau"), [(600, 0.5), (3000, TAU)], ids=["independent", "correlated"])
def test_errors_cover_for_every_kind_of_site(num, tau, tmp_path, monkeypatch):
    """Errors that are 20 % too small or too large fail.

    The rms of 60 data sets, whose couplings are worth two independent ones, scatters by 0.065.
    """
    monkeypatch.setattr(Recorded, "_drift_of_couplings", lambda *args: [])  # it enters no error
    pulls: dict[str, list[float]] = {}
    for kind in TRUTHS:
        for seed in range(FEW[kind]):
            np.save(tmp_path / "rows.npy", data_set(kind, num, tau, seed, 100_000))
            found = pulls_of_couplings(kind, str(tmp_path / "rows.npy"), seed, steps=30)
            for estimator, values in found.items():
                pulls.setdefault(estimator, []).extend(values)
    assert pulls.keys() == {"estimate", "pseudo_likelihood", "score_matching"}
    for estimator, values in pulls.items():
        sizes = np.abs(values)
        assert 0.83 < np.sqrt((sizes**2).mean()) < 1.2, estimator
        assert 0.58 < (sizes < 1).mean() < 0.78, estimator
