import films
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lightdan.images import noise

ALL = np.ones((96, 96), bool)


def same(image):
    return image


@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_noise_is_measured_beside_domains_and_light(sigma):
    rng = np.random.default_rng(0)
    film = gaussian_filter(films.labyrinth(ALL.shape, 24, rng).astype(float), 1.0)
    film += np.linspace(0, 5, 96)
    noisy = film + sigma * rng.normal(size=ALL.shape)
    assert noise.noise(noisy, ALL) == pytest.approx(sigma, rel=0.15)
    assert noise.noise(np.linspace(0, 1, 96) + np.zeros(ALL.shape), ALL) < 1e-12


def test_masked_pixels_have_no_weight():
    valid = ALL.copy()
    valid[40:50, 40:50] = False
    flat = np.where(valid, 2.0, 1e6)
    np.testing.assert_allclose(noise.gaussian(flat, valid, 1.5)[valid], 2.0)
    np.testing.assert_allclose(noise.gaussian(flat, ALL, 0.0), flat)
    np.testing.assert_allclose(noise.non_local(flat, valid), 2.0)


def test_filter_is_nearly_the_best():
    """The share of wrong pixels is close to the smallest one, and grows with the noise."""
    rng = np.random.default_rng(1)
    film = films.labyrinth(ALL.shape, 16, rng)
    widths = []
    for sigma in (0.1, 1.0):
        flat = film + sigma * rng.normal(size=ALL.shape)
        width = noise.best_width([flat], [ALL], [ALL], same)
        wrong = {w: ((noise.gaussian(flat, ALL, w) > 0) != (film > 0)).mean() for w in noise.WIDTHS}
        assert wrong[width] < 1.3 * min(wrong.values()) + 0.005
        widths.append(width)
    assert widths[0] == 0
    assert widths[1] >= 1
    assert noise.best_width([np.ones(ALL.shape)], [ALL], [ALL], same) == 0


def test_non_local_means_keeps_walls():
    rng = np.random.default_rng(2)
    film = films.stripes(ALL.shape, 24, rng).astype(float)
    smooth = noise.non_local(film + 0.5 * rng.normal(size=ALL.shape), ALL)
    assert ((smooth > 0) != (film > 0)).mean() < 0.02
    assert np.abs(smooth - film).mean() < 0.15
