import numpy as np
import pytest
from gaussian_films import films, spectrum
from scipy import ndimage

from lightdan.images.division import Division
from lightdan.images.independence import Independence
from lightdan.images.patches import cut

RNG = np.random.default_rng(0)
POWER = spectrum((160, 200), 8, 0.15)


def divided(textures, by="space", patch=(8, 8), stride=4, valid=None):
    valid = np.ones(textures.shape[1:], bool) if valid is None else valid
    independence = Independence.of(textures, valid)
    return Division.of(independence, valid, patch, stride, (0.7, 0.1, 0.2), by, seed=1)


def sites_of(division, split, shape):
    """Return which sites of the images occur in the patches of a split."""
    used = np.zeros(shape, bool)
    for image, row, column in division.places[split]:
        used[image, row : row + division.patch[0], column : column + division.patch[1]] = True
    return used


@pytest.mark.parametrize("stride", [1, 3, 8])
def test_splits_are_apart_by_the_reach_of_correlations(stride):
    textures = films(POWER, 1, RNG)
    valid = np.ones((160, 200), bool)
    valid[70:80, 20:50] = False
    division = divided(textures, stride=stride, valid=valid)
    assert division.guard == division.independence.reach
    train, validation, test = (sites_of(division, split, textures.shape)[0] for split in range(3))
    around = np.ones((2 * division.guard + 1,) * 2)
    for first, second in ((train, validation), (train, test), (validation, test)):
        assert not (ndimage.binary_dilation(first, around) & second).any()
    assert not ((train | validation | test) & ~valid).any()
    assert (division.role_of_sites(0)[test] == 2).all()
    rows, columns = np.nonzero(test)
    assert np.ptp(rows) > 80
    assert np.ptp(columns) > 100


def test_a_drifting_film_is_not_seen_in_two_splits():
    film = films(spectrum((220, 220), 8, 0.15), 1, RNG)[0]
    textures = np.stack([film[60 - 20 * k : 188 - 20 * k, 9 * k : 9 * k + 128] for k in range(4)])
    division = divided(textures)
    np.testing.assert_array_equal(division.independence.repeats.drifts, [[20, -9]] * 3)
    marks = np.arange(film.size).reshape(film.shape)
    numbers = np.stack([marks[60 - 20 * k : 188 - 20 * k, 9 * k : 9 * k + 128] for k in range(4)])
    seen = [set(cut(numbers, places, (8, 8)).ravel().tolist()) for places in division.places]
    assert all(seen)
    assert not any(seen[first] & seen[second] for first, second in ((0, 1), (0, 2), (1, 2)))


def test_correlated_images_between_splits_are_left_out():
    textures = films(spectrum((64, 64), 8, 0.15), 120, RNG, lasting=0.7)
    division = divided(textures, "image")
    lag = len(division.independence.repeats.lasting) - 1
    assert lag > 1
    assert division.guard > 0
    images = division.images
    for split in (1, 2):
        near = ndimage.binary_dilation(images == split, np.ones(2 * division.guard + 1))
        assert np.isin(images[near], [split, -1]).all()
    assert [set(images[places[:, 0]]) for places in division.places] == [{0}, {1}, {2}]
    assert [set(division.role_of_sites(k).ravel()) for k in range(120)] == [{k} for k in images]


def test_blocks_are_consecutive_and_in_random_order():
    division = divided(films(POWER, 1, RNG))
    labels, blocks = division.labels(0), division.blocks(0)
    assert len(np.flatnonzero(np.diff(labels))) + 1 == len(np.unique(labels)) == len(blocks.starts)
    assert (np.diff(labels) < 0).any()
    assert 1 <= blocks.understatement < 1.3
    middle = division.places[0] + [0, 4, 4]
    tile = np.searchsorted(division.pieces.rows, middle[:, 1], side="right")
    assert np.array_equal(np.unique(tile), np.arange(len(division.pieces.rows)) + 1)


def test_films_too_small_are_refused():
    with pytest.raises(ValueError, match="20 × 30 sites have no room for three splits"):
        divided(films(POWER, 1, RNG)[:, :20, :30], patch=(12, 12))
    with pytest.raises(ValueError, match="2 different textures are too few"):
        divided(films(POWER, 2, RNG), "image")
