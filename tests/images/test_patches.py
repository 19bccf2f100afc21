import numpy as np
import pytest

from lightdan.images.patches import cut, guarded_film, guarded_images, hold_out, whole

RNG = np.random.default_rng(0)


def test_patches_begin_where_all_sites_are_allowed():
    allowed = RNG.random((12, 15)) < 0.9
    found = whole(allowed, (3, 2))
    assert found.shape == (10, 14)
    for i, j in np.ndindex(found.shape):
        assert found[i, j] == allowed[i : i + 3, j : j + 2].all()
    textures = np.arange(2 * 12 * 15).reshape(2, 12, 15)
    (patch,) = cut(textures, np.array([[1, 4, 5]]), (3, 2))
    np.testing.assert_array_equal(patch, textures[1, 4:7, 5:7])


@pytest.mark.parametrize("num", [3, 12, 64])
def test_held_out_tiles_are_no_neighbours_if_possible(num):
    near = np.abs(np.subtract.outer(np.arange(num), np.arange(num))) <= 1
    for seed in range(5):
        roles = hold_out(num, (0.8, 0.05, 0.15), near, seed)
        held_out = np.flatnonzero(roles)
        assert np.bincount(roles)[1:].tolist() == [max(1, round(f * num)) for f in (0.05, 0.15)]
        assert num == 3 or (np.diff(held_out) > 1).all()


def test_guards_keep_the_roles_apart():
    edges = np.array([0, 10, 20]), np.array([0, 12, 24, 36])
    roles = np.array([0, 2, 0, 0, 0, 2, 1, 0, 0, 0, 0, 1])
    film = guarded_film(roles.astype(np.int8), edges, (30, 48), 3)
    tiles = np.kron(roles.reshape(3, 4), np.ones((10, 12), int))
    for role in (1, 2):
        y, x = np.nonzero(film == role)
        for i, j in zip(y, x, strict=True):
            assert tiles[i, j] == role
            near = film[max(0, i - 3) : i + 4, max(0, j - 3) : j + 4]
            assert np.isin(near, [role, -1]).all()
    assert (film == 2).sum() == (tiles == 2).sum()
    images = guarded_images(np.array([0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0], np.int8), 2)
    assert images.tolist() == [0, -1, -1, 2, -1, -1, -1, 1, -1, -1, 0]
