import pytest
import torch
from lightning import Trainer

from lightdan import MADE, Ising, Transformer, Triangular, checkpoints
from lightdan.lattices.bravais import kagome, triangular
from lightdan.lattices.graphs import graph
from lightdan.lattices.groups import group, spatial_operations
from lightdan.testing.states import (
    all_configurations,
    assert_sites_see_earlier_stages_only,
    probabilities_of,
    randomize,
)

NETWORKS = {
    "MADE": lambda **options: MADE(width=2, **options),
    "Triangular": Triangular,
    "Transformer": lambda **options: Transformer(width=8, heads=2, depth=1, **options),
}
LATTICES = {
    "triangular": (triangular((2, 2)), ("rotation", "reflection")),
    "kagome": (kagome((1, 2)), ("translation", "rotation")),
    "graph": (graph(6, [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4)]), ("automorphism",)),
}


@pytest.mark.parametrize("name", LATTICES)
@pytest.mark.parametrize("network", NETWORKS)
def test_networks_on_any_lattice(network, name, tmp_path):
    """Check Σ p = 1, p(g s) = p(s), that no site sees its own stage, and a checkpoint."""
    torch.manual_seed(0)
    lattice, operations = LATTICES[name]
    assert {*operations} <= {*spatial_operations(lattice)}
    options = {"lattice_shape": lattice.shape, "lattice_spec": lattice.spec}
    options["ordering"] = "checkerboard"
    model = randomize(NETWORKS[network](symmetrize=operations, **options))
    states = all_configurations(lattice.shape, (-1, 1))
    p = probabilities_of(model, states)
    assert p.sum().item() == pytest.approx(1, abs=1e-10)
    elements = group(operations, lattice)
    image = elements.act(states, torch.tensor(len(elements) - 1))
    torch.testing.assert_close(probabilities_of(model, image), p, rtol=1e-10, atol=0)
    assert_sites_see_earlier_stages_only(model, {"site_kind": "spin", "levels": (-1, 1)})
    uniforms = torch.rand(20, model.num_sites, dtype=torch.float64)
    fast = model.draw(uniforms)
    model.incremental = lambda num, conditions=None: type(model).__mro__[1].incremental(model, num)
    assert torch.equal(model.draw(uniforms), fast)
    del model.incremental
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = checkpoints.load(tmp_path / "model.ckpt")
    assert again.lattice == lattice
    torch.testing.assert_close(probabilities_of(again.double(), states), p)


def test_systems_give_networks_their_lattice():
    system = Ising(shape=3, lattice="kagome")
    model = MADE.for_system(system, symmetrize=["rotation"], augment=["reflection"])
    assert model.lattice == system.lattice
    assert len(model.group) == 6
    assert MADE.for_system(Ising(shape=3)).hparams["lattice_spec"] is None
    with pytest.raises(ValueError, match="is not that of the lattice"):
        MADE(lattice_shape=(3, 3), lattice_spec=system.lattice_spec)
