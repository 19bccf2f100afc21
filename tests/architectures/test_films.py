"""Films of any size, drawn from networks of patches."""

import pytest
import torch

from lightdan import MADE, PixelCNN, Triangular
from lightdan.architectures.films import draw_films, num_steps, steps
from lightdan.testing import all_configurations
from lightdan.testing.states import assert_frequencies, probabilities_of, randomize

SPATIAL = ("z2", "rotation", "reflection")


def made(shape=(2, 3), **options):
    return randomize(MADE(width=2, lattice_shape=shape, **options), 1.0)


@pytest.mark.parametrize("options", [{}, {"symmetrize": SPATIAL}])
def test_a_film_as_large_as_a_patch_has_the_distribution_of_the_network(options):
    model, states = made((2, 4), **options), all_configurations((2, 4), (-1, 1))
    films = draw_films(model, (2, 4), 10_000, seed=1)
    assert_frequencies(films, states, probabilities_of(model, states))


def test_each_site_of_a_larger_film_has_its_conditional():
    """p(film) is the product of the conditionals in patches that are moved inside the film.

    In three rows, a site of the second and the third one is in the last row of its patch.
    """
    model, states = made(), all_configurations((3, 4), (-1, 1))
    log_prob = torch.zeros(len(states), dtype=torch.float64)
    for row, column in ((row, column) for row in range(3) for column in range(4)):
        top, left = max(row - 1, 0), min(max(column - 1, 0), 1)
        patches = states[:, top : top + 2, left : left + 3].double()
        log_prob += model.conditionals(patches)[:, row - top, column - left]
    assert log_prob.exp().sum().item() == pytest.approx(1)
    assert_frequencies(draw_films(model, (3, 4), 20_000, seed=1), states, log_prob.exp())


@pytest.mark.parametrize("kind", ["level", "real"])
def test_films_of_levels_and_fields(kind):
    """The first sites have the mean of the network, in the units of the data."""
    levels = (-4, -1, 0) if kind == "level" else ()
    model = randomize(Triangular(lattice_shape=(3, 3), site_kind=kind, levels=levels))
    films, patches = draw_films(model, (5, 6), 4000), model.sample(4000)
    if kind == "level":
        assert set(films.unique().tolist()) == set(levels)
    scatter = films[:, 0, 0].std() / 4000**0.5
    assert films[:, 0, 0].mean().item() == pytest.approx(
        patches[:, 0, 0].mean().item(), abs=6 * scatter.item()
    )


@pytest.mark.parametrize("patch", [(4, 6), (3, 5), (3, 2)])
def test_all_sites_that_a_site_sees_are_drawn_in_earlier_steps(patch):
    drawn = set()
    for step in steps(patch, (7, 9)):
        sites = [(place, site) for place, group in step.items() for site in group]
        for place, (top, left, _, _) in sites:
            seen = {(top + k // patch[1], left + k % patch[1]) for k in range(place)}
            assert seen <= drawn
        drawn |= {(row, column) for _, (_, _, row, column) in sites}
    assert len(drawn) == 7 * 9


def test_progress_has_one_call_for_each_step():
    calls = []
    draw_films(made(), (4, 7), progress=calls.append)
    assert sum(calls) == num_steps(made(), (4, 7)) == 7 + 3 * 3


@pytest.mark.parametrize(
    ("options", "shape", "reason"),
    [
        ({"lattice_shape": (4,)}, (8, 8), "plane patches in raster order"),
        ({"lattice_shape": (3, 3), "ordering": "snake"}, (8, 8), "plane patches in raster order"),
        ({"lattice_shape": (3, 3)}, (8, 2), "8 × 2 sites is smaller than a patch of 3 × 3"),
    ],
)
def test_what_has_no_films_is_refused(options, shape, reason):
    with pytest.raises(ValueError, match=reason):
        draw_films(PixelCNN(channels=1, **options), shape)
