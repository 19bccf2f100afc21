import numpy as np
import pytest
import torch

from lightdan import MADE, CouplingGraph, ExplicitHamiltonian, Recorded
from lightdan.interactions.fit import fit
from lightdan.interactions.local_fields import LocalFields
from lightdan.interactions.screening import find_pairs, graph_operators
from lightdan.measurements.ensemble import Ensemble

SIDE = 4


def random_graph(site_kind, num, seed=0, side=SIDE):
    """Return pairs of a torus, couplings of `graph_operators` and configurations."""
    rng = np.random.default_rng(seed)
    sites = np.arange(side**2).reshape(side, side)
    moved = [np.roll(sites, -1, axis).ravel() for axis in (0, 1)]
    pairs = sorted(
        {
            (min(i, j), max(i, j))
            for j in moved
            for i, j in zip(sites.ravel().tolist(), j.tolist(), strict=True)
        }
    )
    operators = graph_operators(site_kind, side**2, pairs)
    phases = rng.uniform(0, 2 * np.pi, len(pairs))
    couplings = np.stack([np.cos(phases), np.sin(phases)], axis=1).ravel()
    if site_kind == "real":
        bonds = rng.choice([-0.5, 0.5], len(pairs))
        couplings = np.concatenate([bonds, np.tile([0.2, -0.5, 0.0, -0.25], side**2)])
    model = ExplicitHamiltonian.from_couplings(
        (side, side), operators, couplings, site_kind=site_kind, levels=()
    )
    rows = torch.as_tensor(model.simulate(1.0, num, seed).configurations).double()
    return pairs, couplings, rows


@pytest.mark.parametrize("site_kind", ["angle", "real"])
def test_pairs_of_a_random_graph_and_no_others(site_kind):
    pairs, couplings, rows = random_graph(site_kind, 3000)
    assert len(pairs) == 32
    assert find_pairs(rows, site_kind) == pairs
    operators = graph_operators(site_kind, 16, pairs)
    result = fit(LocalFields(operators, 16, None, None, site_kind, ()), rows)
    pulls = (result.couplings - couplings) / result.standard_errors
    assert 0.8 < np.sqrt((pulls**2).mean()) < 1.2


@pytest.mark.parametrize("site_kind", ["angle", "real"])
def test_counts_are_repeated_rows(site_kind):
    _, _, rows = random_graph(site_kind, 700)
    counts = torch.as_tensor(np.random.default_rng(0).integers(1, 4, 700))
    found = find_pairs(rows, site_kind, weights=counts)
    repeated = rows.repeat_interleave(counts, 0)
    # Copies count once in blocks, but counts are independent rows.
    order = torch.randperm(len(repeated), generator=torch.Generator().manual_seed(0))
    assert len(found) > 20
    assert len({*found} ^ {*find_pairs(repeated[order], site_kind)}) <= 2


@pytest.mark.parametrize("site_kind", ["angle", "real"])
def test_real_weights_undo_a_biased_choice_of_rows(site_kind):
    pairs, _, rows = random_graph(site_kind, 6_000)
    first, second = rows.flatten(1)[:, 0], rows.flatten(1)[:, 5]
    keep = torch.where((first - second).cos() > 0.5, 0.9, 0.2)
    kept = torch.as_tensor(np.random.default_rng([1, 2]).random(6_000)) < keep
    assert (0, 5) in find_pairs(rows[kept], site_kind)
    found = find_pairs(rows[kept], site_kind, weights=(1 / keep)[kept])
    assert (0, 5) not in found
    assert len({*found} ^ {*pairs}) <= 2


def test_noise_has_no_pairs():
    generator = torch.Generator().manual_seed(0)
    found = [
        find_pairs(6.283 * torch.rand(300, 12, generator=generator, dtype=torch.float64), "angle")
        for _ in range(20)
    ]
    assert sum(map(len, found)) <= 2  # 0.2 are expected


def test_too_few_configurations_are_refused():
    with pytest.raises(ValueError, match="20 configurations are too few to search 22 couplings"):
        find_pairs(torch.rand(20, 12), "angle")


def test_the_graph_of_angles_in_a_file(tmp_path):
    pairs, couplings, rows = random_graph("angle", 4000, seed=1)
    np.save(tmp_path / "angles.npy", rows.numpy())
    system = Recorded(str(tmp_path / "angles.npy"), splits=(0.6, 0.1, 0.3))
    system.setup()
    torch.manual_seed(0)
    model = MADE.for_system(system, width=2).eval()
    result = CouplingGraph(num_samples=500).measure(Ensemble(model, system, 1.0))
    np.testing.assert_array_equal(result.arrays["sites"], pairs)
    modulus, phase = result.arrays["couplings"], result.arrays["couplings_phase"]
    assert 0.8 < np.sqrt((((modulus[:, 0] - 1) / modulus[:, 1]) ** 2).mean()) < 1.2
    true = np.arctan2(couplings[1::2], couplings[::2])
    pulls = np.angle(np.exp(1j * (phase[:, 0] - true))) / phase[:, 1]
    assert 0.8 < np.sqrt((pulls**2).mean()) < 1.2
    assert result.estimates["rms_bond"].value == pytest.approx(1, abs=0.05)
    (tmp_path / "h.json").write_text(result.attachments["hamiltonian.json"])
    assert len(ExplicitHamiltonian.load(tmp_path / "h.json").operators) == 64
