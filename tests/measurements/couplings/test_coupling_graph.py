import numpy as np
import pytest
import torch
from oracle import within

from lightdan import (
    MADE,
    XY,
    CouplingGraph,
    ExplicitHamiltonian,
    NotMeasurable,
    Operator,
    Recorded,
    edwards_anderson,
)
from lightdan.measurements.ensemble import Ensemble


def test_the_graph_of_a_glass_and_a_product_that_the_network_knows(tmp_path):
    """The data come from a glass with a product of distant spins; the network is exact."""
    glass = edwards_anderson((3, 4), seed=2)
    product = Operator("product", np.array([[0, 2, 7, 9]]), 1.2)
    exact = ExplicitHamiltonian((3, 4), [*glass.operators, product], 2.0)
    np.save(tmp_path / "glass.npy", exact.simulate(2.0, 20_000, seed=1).configurations)
    system = Recorded(
        str(tmp_path / "glass.npy"), boundary="periodic", temperature=2.0, splits=(0.5, 0.1, 0.4)
    )
    system.setup()

    class Exact(MADE):
        def local_fields(self, configurations, temperature, sites=None):
            states = configurations.flatten(1).double()
            before = exact.energy(states.numpy())
            fields = torch.zeros(*states.shape, 2, dtype=torch.float64)
            for site in range(12):
                for level, value in enumerate((-1, 1)):
                    changed = states.clone()
                    changed[:, site] = value
                    fields[:, site, level] = torch.tensor(exact.energy(changed.numpy()) - before)
            return fields

    model = Exact(lattice_shape=(3, 4), width=1)
    result = CouplingGraph(num_samples=3000).measure(Ensemble(model, system, 2.0))
    (tmp_path / "h.json").write_text(result.attachments["hamiltonian.json"])
    learned = ExplicitHamiltonian.load(tmp_path / "h.json")
    truth = {tuple(o.sites[0]): o.coupling for o in exact.operators}
    fitted = {tuple(o.sites[0]): (o.coupling, o.error) for o in learned.operators}
    assert fitted.keys() == truth.keys()
    for term, (coupling, error) in fitted.items():
        assert abs(coupling - truth[term]) < 4.5 * error
    within(result.estimates["product_0_2_7_9"], 0.6)
    assert result.estimates["product_0_2_7_9_network"].value == pytest.approx(0.6, abs=0.01)
    within(result.estimates["rms_bond"], 0.5)
    assert "24 of two and 1 of more" in result.notes[0]


def test_the_graph_of_noise_and_of_angles(tmp_path):
    spins = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (2000, 3, 3))
    np.save(tmp_path / "noise.npy", spins)
    system = Recorded(str(tmp_path / "noise.npy"))
    system.setup()
    with pytest.raises(NotMeasurable, match="No field, bond or product of spins is significant"):
        CouplingGraph().measure(Ensemble(MADE(lattice_shape=(3, 3)), system, 1.0))
    angles = XY(shape=3, num_configurations=100, cache_dir=str(tmp_path))
    model = MADE(lattice_shape=(3, 3), site_kind="angle", levels=())
    with pytest.raises(NotMeasurable, match="needs spins, but the sites are of kind 'angle'"):
        CouplingGraph().measure(Ensemble(model, angles, 1.0))
