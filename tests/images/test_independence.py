import numpy as np
import pytest
from gaussian_films import fields, films, spectrum

from lightdan.images.independence import Independence, correlation

RNG = np.random.default_rng(0)


def test_correlation_by_hand():
    textures, valid = RNG.choice([-1, 1], (3, 5, 7)), RNG.random((5, 7)) < 0.8
    s = textures - textures[:, valid].mean()
    sums = {
        (y, x): np.array(
            [
                (s[m, i, j] * s[m, i + y, j + x], 1)
                for m in range(3)
                for i in range(5)
                for j in range(7)
                if 0 <= i + y < 5 and 0 <= j + x < 7 and valid[i, j] and valid[i + y, j + x]
            ]
        ).mean(0)[0]
        for y in range(-2, 3)
        for x in range(-2, 3)
    }
    expected = [[sums[y, x] / sums[0, 0] for x in range(-2, 3)] for y in range(-2, 3)]
    np.testing.assert_allclose(correlation(textures, valid), expected)


@pytest.mark.parametrize(("period", "width"), [(10, 0.05), (10, 0.1), (None, 0.3)])
def test_correlation_area_is_that_of_the_spectrum(period, width):
    """Σ ρ² = N Σ S²/(Σ S)², and Σ ρ = N S(0)/Σ S."""
    power = spectrum((256, 256), period, width)
    exact = max(np.mean(power**2), power[0, 1])
    found = Independence.of(fields(power, 4, np.random.default_rng(1)), np.ones(power.shape, bool))
    assert found.area == pytest.approx(exact, rel=0.15)
    exact = np.fft.fftshift(np.fft.ifft2(power).real)
    radius = np.hypot(*(np.indices(power.shape) - 128))
    at = [(np.abs(radius - found.reach - shift) < 0.5) for shift in (-2, 2)]
    before, after = (np.sqrt((exact[ring] ** 2).mean()) for ring in at)
    assert found.contained
    assert after < 0.1 < before


def test_patches_stand_for_themselves_or_for_the_correlation_area():
    power = spectrum((256, 256), 10, 0.1)
    found = Independence.of(films(power, 4, RNG), np.ones(power.shape, bool))
    assert found.patch_area((64, 64)) == pytest.approx(64 * 64, rel=0.15)
    assert found.patch_area((1, 1)) == pytest.approx(found.area)
    single = Independence.of(films(power, 1, RNG), np.ones(power.shape, bool))
    assert found.independent_patches(256**2, (16, 16)) == pytest.approx(
        4 * single.independent_patches(256**2, (16, 16)), rel=0.15
    )


def test_a_perfect_lattice_is_one_piece():
    lattice = np.where(np.add.outer(np.arange(64) // 4, np.arange(64) // 4) % 2, 1, -1)
    found = Independence.of(lattice[None], np.ones((64, 64), bool))
    assert not found.contained
    assert found.independent_patches(64**2, (8, 8)) == 1


def test_blocks_exceed_a_patch_by_the_reach_and_are_enough():
    power = spectrum((256, 256), 10, 0.1)
    one = Independence.of(films(power, 1, RNG), np.ones(power.shape, bool))
    pieces = one.pieces((256, 256), (8, 8))
    assert len(pieces.tiles) == 64
    assert min(np.diff(pieces.rows)) >= 8 + one.reach
    row, column = np.indices((256, 256)).reshape(2, -1)
    labels = pieces.of(np.zeros_like(row), row, column).reshape(256, 256)
    for number, tile in enumerate(pieces.tiles):
        assert (labels[tile] == number).all()
    few = spectrum((96, 96), 10, 0.1)
    many = Independence.of(films(few, 100, RNG, lasting=0.5), np.ones(few.shape, bool))
    pieces = many.pieces((96, 96), (8, 8))
    assert len(np.unique(pieces.frames)) * len(pieces.tiles) >= 64
    assert min(np.bincount(pieces.frames)) >= len(many.repeats.lasting)
