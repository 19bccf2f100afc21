import numpy as np
import pytest
import torch
from trainers import quiet_trainer

from lightdan import MADE, XY, BlockSpin, Ising, Recorded, checkpoints
from lightdan.testing import all_configurations

T_C = 2.269185


def ising(shape=4, num=500, **options):
    return Ising(shape=shape, temperature=T_C, num_configurations=num, **options)


def test_blocks_by_hand():
    s = torch.tensor([[[1, 1, -1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [-1, -1, -1, 1]]])
    assert BlockSpin(ising()).block(s).tolist() == [[[4, -2], [-2, 0]]]
    overlapping = BlockSpin(ising(), stride=1).block(s)
    assert overlapping.shape == (1, 4, 4)
    assert overlapping[0, 0].tolist() == [4, 0, -2, 2]
    assert overlapping[0, 3].tolist() == [0, -2, 0, 2]  # around the torus
    assert BlockSpin(ising(), repeats=2).block(s).tolist() == [[[0]]]
    assert BlockSpin(ising(), repeats=0).block(s).tolist() == s.tolist()
    majority = BlockSpin(ising(), rule="majority").block(s)[0]
    assert majority[0].tolist() == [1, -1]
    assert majority[1, 0] == -1
    assert majority[1, 1].abs() == 1


def test_ties_are_decided_by_a_fair_coin_of_the_seed():
    s = torch.tensor([[1, 1], [-1, -1]]).tile(4000, 1, 1)
    system = BlockSpin(ising(shape=2), rule="majority")
    coins = system.block(s).double()
    assert abs(coins.mean().item()) < 4 / 4000**0.5
    assert torch.equal(system.block(s).double(), coins)
    other = BlockSpin(Ising(shape=2, seed=1), rule="majority").block(s)
    assert not torch.equal(other.double(), coins)


@pytest.mark.parametrize(("stride", "entropy", "states"), [(1, 4.466916, 36_317), (2, 3.378065, 625)])
def test_entropy_by_enumeration(stride, entropy, states):
    system = BlockSpin(ising(), stride=stride)
    assert system.exact_values(T_C)["nll"] == pytest.approx(entropy, abs=2e-6)
    logs = system.log_probabilities(T_C)
    assert len(logs) == states
    assert np.exp(logs).sum() == pytest.approx(1)
    blocks = system.block(all_configurations((4, 4), (-1, 1))[:500])
    p = (-ising().energy(all_configurations((4, 4), (-1, 1))) / T_C).softmax(0)
    every = system.block(all_configurations((4, 4), (-1, 1)))
    for row in (0, 77, 421):
        expected = p[(every == blocks[row]).all(2).all(1)].sum().log().item()
        assert -system.action(blocks[row : row + 1], T_C).item() == pytest.approx(expected)
    opposite = torch.full((1, *system.lattice_shape), 4.0)
    opposite[0, 0, 0] = -4  # possible only where blocks do not overlap
    assert (system.action(opposite, T_C).item() == 1000) == (stride == 1)
    with pytest.raises(ValueError, match=r"hold 3 in row 0, site \(0, 0\).*-4, -2, 0, 2 or 4"):
        system.action(torch.full((1, *system.lattice_shape), 3.0), T_C)


def test_levels_are_those_that_occur():
    assert BlockSpin(ising()).levels == (-4, -2, 0, 2, 4)
    assert BlockSpin(ising(8), repeats=2).levels == tuple(range(-16, 17, 2))
    majority = BlockSpin(ising(8), rule="majority", repeats=2)
    assert (majority.levels, majority.site_kind, majority.lattice_shape) == ((-1, 1), "spin", (2, 2))


def test_configurations_are_split_as_in_the_other_system(tmp_path):
    np.save(tmp_path / "s.npy", np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (300, 4, 6)))
    inner = Recorded(str(tmp_path / "s.npy"))
    system = BlockSpin(inner, stride=1)
    assert system.lattice_shape == (3, 5)
    assert not system.has_action
    for split in ("train", "validation", "test"):
        expected = system.block(inner.data.rows(split, 1.0))
        assert torch.equal(system.data.rows(split, 1.0), expected)


def test_a_checkpoint_says_of_what_the_blocks_are(tmp_path):
    system = BlockSpin(ising())
    model = MADE(lattice_shape=(2, 2), site_kind="level", levels=system.levels, width=2)
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(model, datamodule=system)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    spec = checkpoints.read(tmp_path / "x.ckpt")["lightdan"]["system"]
    assert spec["class_path"].endswith("BlockSpin")
    assert spec["init_args"]["system"]["class_path"].endswith("Ising")
    assert spec["init_args"]["stride"] == 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BlockSpin(ising((5, 4))), "do not divide 5 × 4"),
        (lambda: BlockSpin(ising(4), repeats=3), "do not divide 1 × 1"),
        (lambda: BlockSpin(ising((8,))), "on 1 axes"),
        (lambda: BlockSpin(XY(shape=4)), "sites of kind 'angle'"),
        (lambda: BlockSpin(ising(), stride=1, rule="majority"), "needs spins in separate blocks"),
        (lambda: BlockSpin(ising(), repeats=-1), "repeats to 0 or more"),
    ],
)
def test_what_cannot_be_blocked_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
