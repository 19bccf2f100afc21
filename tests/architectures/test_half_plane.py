from typing import ClassVar

import pytest
import torch

from lightdan import HalfPlane
from lightdan.architectures.films import draw_films
from lightdan.lattices import groups
from lightdan.testing import ArchitectureTests, all_configurations, randomize
from lightdan.testing.states import assert_frequencies
from lightdan.types import Batch

SPINS = ArchitectureTests.sites["spins"]


class TestProperties(ArchitectureTests):
    """HalfPlane whose reach ends within the lattice, at its edge and beyond it."""

    lattices: ClassVar = [(2, 3), (4, 3), (5,)]
    sites: ClassVar = {"spins": SPINS, "reals": ArchitectureTests.sites["reals"]}

    def make(self, **kwargs):
        return HalfPlane(units=2, reach=2, **kwargs)


@pytest.mark.parametrize("reach", [1, 5])
def test_a_film_is_a_patch_of_its_size(reach):
    """A film has the distribution of the same weights on a lattice as large as the film."""
    model = randomize(HalfPlane(lattice_shape=(2, 2), units=2, reach=reach), 0.5)
    whole = HalfPlane(lattice_shape=(3, 4), units=2, reach=reach).double()
    whole.load_state_dict(model.state_dict())
    states = all_configurations((3, 4), (-1, 1))
    films = draw_films(model, (3, 4), 20_000, seed=1)
    assert_frequencies(films, states, whole.log_prob(states).exp())


def test_sites_at_random_places_estimate_the_likelihood():
    """Batches of more than 500 patches learn one site of each."""
    model = randomize(HalfPlane(lattice_shape=(2, 3), units=2, reach=2), 0.5)
    patch, generator = all_configurations((2, 3), (-1, 1))[:1].double(), torch.Generator().manual_seed(1)
    estimates = model.some_log_prob(patch.expand(20_000, 2, 3), None, generator)
    exact, error = model.bare_log_prob(patch).item(), estimates.std().item() / 20_000**0.5
    assert estimates.mean().item() == pytest.approx(exact, abs=5 * error)


def test_the_middle_of_a_square_has_the_conditional_of_a_film():
    model = randomize(HalfPlane(lattice_shape=(2, 3), units=2, reach=2), 0.5)
    large = HalfPlane(lattice_shape=(5, 5), units=2, reach=2).double()
    large.load_state_dict(model.state_dict())
    model._of_squares = groups.group((), (5, 5))
    squares = large.sample(10, seed=1)
    batch = Batch(squares[:, :2, :3], torch.ones(10, dtype=torch.float64))
    exact = -6 * large.conditionals(squares)[:, 2, 2].mean()
    torch.testing.assert_close(model.film_loss(squares, batch, 0), exact)
