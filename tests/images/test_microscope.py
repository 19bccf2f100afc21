import numpy as np
import pytest

from lightdan.images.microscope import RANGE, Microscope, dipolar_couplings, film
from lightdan.simulation import films, ising

RNG = np.random.default_rng(0)


def test_dipolar_energy_is_the_direct_sum():
    shape = (16, 18)
    spins = RNG.choice(np.array([-1, 1], np.int8), (3, *shape))
    stencil = films.Stencil.of_pairs(dipolar_couplings(0.3))
    found = [films.Film(stencil, x, RNG).energy() * x.size for x in spins]
    expected = ising.energy(spins)
    for row in range(-6, 7):
        for column in range(-6, 7):
            r = np.hypot(row, column)
            if 0 < r <= RANGE:
                moved = np.roll(spins, (row, column), (1, 2)).astype(float)
                expected += 0.3 / r**3 * (spins * moved).sum((1, 2)) / 2
    np.testing.assert_allclose(found, expected)


@pytest.mark.slow
def test_dipoles_make_stripes_and_no_dipoles_ising():
    stripes = film((24, 24), 0.8, 6, dipolar=0.35).astype(float)
    along = (stripes * np.roll(stripes, 4, 1)).mean() + (stripes * np.roll(stripes, 4, 2)).mean()
    assert along / 2 < -0.03  # half a period apart
    assert np.abs(stripes.mean((1, 2))).max() < 0.2
    plain = film((8, 8), 2.5, 50, seed=3)
    np.testing.assert_array_equal(plain, ising.simulate((8, 8), 2.5, 50, seed=3).configurations)


def test_images_have_the_contrast_the_noise_and_the_bar():
    spins = RNG.choice(np.array([-1, 1], np.int8), (2, 6, 8))
    plain = Microscope(contrast=0.2, blur=0, photons=0, gradient=0)
    image = next(plain.images(spins))
    assert image.shape == (24, 32)
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image[::4, ::4], np.where(spins[0] > 0, 22_000, 18_000))
    noisy = Microscope(contrast=0, blur=0, photons=400, gradient=0)
    noise = np.stack(list(noisy.images(np.ones((50, 6, 8), np.int8))))
    assert noise.std() / noise.mean() == pytest.approx(0.05, rel=0.03)
    barred = next(Microscope(scale_bar=True).images(np.ones((1, 30, 30), np.int8)))
    assert (barred == 65_535).sum() == 24 * 4  # 0.2 of 120 columns, 0.03 of 120 rows
    first, second = Microscope(drift=20, blur=0, photons=0, gradient=0).images(
        np.tile(spins[:1], (2, 1, 1))
    )
    assert (first != second).any()
    np.testing.assert_array_equal(np.sort(first.ravel()), np.sort(second.ravel()))


def test_walls_are_hyperbolic_tangents_and_dirt_stays():
    film = np.where(np.arange(40) < 20, -1, 1).astype(np.int8) * np.ones((40, 1), np.int8)
    optics = {"pixels_per_site": 1, "contrast": 0.2, "blur": 0, "photons": 0, "gradient": 0}
    image = next(Microscope(wall=4.0, **optics).images(film[None])) / 20_000
    distance = np.arange(-10, 10) + 0.5
    np.testing.assert_allclose(image[5, 10:30], 1 + 0.1 * np.tanh(2 * distance / 4), atol=1e-4)
    clean = next(Microscope(**optics).images(film[None]))
    first, second = Microscope(dirt=2, **optics).images(np.stack([film, -film]), 3)
    specks = first < 0.7 * clean
    np.testing.assert_array_equal(second < 0.7 * clean[:, ::-1], specks)
    assert 10 < specks.sum() < 160
