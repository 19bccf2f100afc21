import numpy as np
import pytest
from gaussian_films import fields, films, spectrum

from lightdan.images.doubts import in_words, not_uniform, refused_symmetries
from lightdan.images.independence import Independence
from lightdan.images.local_means import LocalMeans, Part
from lightdan.images.processing import Steps
from lightdan.images.uniformity import (
    anisotropy,
    inhomogeneity,
    split_difference,
)
from lightdan.statistics import Blocks

SHAPE = (144, 160)
POWER = spectrum(SHAPE, 10, 0.1)
VALID = np.ones(SHAPE, bool)


def local_means(textures, valid=VALID):
    return LocalMeans.of(textures, valid, Independence.of(textures, valid))


def with_dirt(textures):
    rows, columns = np.indices(SHAPE)
    return np.where(np.hypot(rows - 45, columns - 100) < 20, np.int8(1), textures)


def with_tracks(textures):
    return np.where(np.arange(SHAPE[0])[:, None] % 48 < 12, np.int8(-1), textures)


def with_gradient(threshold, num, seed):
    waves = fields(POWER, num, np.random.default_rng(seed))
    return np.where(waves > threshold + np.linspace(-0.5, 0.5, SHAPE[1]), 1, -1).astype(np.int8)


def test_local_means_are_those_of_the_pairs_in_each_cell():
    rng = np.random.default_rng(0)
    textures, valid = rng.choice(np.array([-1, 1], np.int8), (2, 64, 64)), VALID[:64, :64].copy()
    valid[:16, :16] = False
    local = local_means(textures, valid)
    side = int(local.edges[0][1])
    np.testing.assert_array_equal(local.edges[0], np.arange(0, 65, side))
    s = textures - textures[:, valid].mean()
    cell = slice(5 * side, 6 * side), slice(7 * side, 8 * side)
    assert np.isnan(local.means["area fraction"][:, 0, 0]).all()
    np.testing.assert_allclose(
        local.means["area fraction"][:, 5, 7], (textures[(slice(None), *cell)] == 1).mean((1, 2))
    )
    down = s[:, :-1] * s[:, 1:]
    np.testing.assert_allclose(
        local.means["down 1"][:, 5, 7], down[(slice(None), *cell)].mean((1, 2)), rtol=1e-5
    )
    walls = textures[:, :, :-1] != textures[:, :, 1:]
    np.testing.assert_allclose(
        local.means["walls right"][:, 5, 7], walls[(slice(None), *cell)].mean((1, 2))
    )


def test_unknown_cells_make_errors_larger():
    """Cells of which only the inner ones are known have the errors of a smaller film."""
    local = local_means(films(POWER, 1, np.random.default_rng(5)))
    values = np.random.default_rng(0).normal(size=local.shape)
    rows, columns = values.shape[1:]
    assert local.share(values) == pytest.approx(local.shared(rows, columns))
    inner = np.full_like(values, np.nan)
    inner[:, 1:-2, 2:-1] = values[:, 1:-2, 2:-1]
    assert local.share(inner) == pytest.approx(local.shared(rows - 3, columns - 3))
    assert local.freedom(inner) < local.freedom(values)


@pytest.mark.parametrize("num", [1, 8])
def test_a_uniform_film_is_not_suspected(num):
    local = local_means(films(POWER, num, np.random.default_rng(5), 0.4))
    difference, _ = inhomogeneity(local)
    assert not difference.significant
    assert not any(each.significant for each in anisotropy(local))
    assert not_uniform(local, Steps()) == []
    assert refused_symmetries(anisotropy(local), (8, 8)) == ((), [])


@pytest.mark.parametrize("num", [1, 8])
def test_dirt_and_tracks_are_found_where_they_are(num):
    film = films(POWER, num, np.random.default_rng(6), 0.4)
    difference, part = inhomogeneity(local_means(with_dirt(film)))
    assert difference.significant
    assert part.rows.start < 60 and part.rows.stop > 30  # noqa: PT018
    assert part.columns.start < 115 and part.columns.stop > 85  # noqa: PT018
    difference, part = inhomogeneity(local_means(with_tracks(film)))
    assert difference.significant
    assert part.columns == slice(None)
    assert part.rows.stop - part.rows.start <= SHAPE[0] // 4


def test_masked_dirt_does_not_count():
    film = with_dirt(films(POWER, 8, np.random.default_rng(7), 0.4))
    valid = VALID.copy()
    valid[24:66, 79:121] = False
    difference, _ = inhomogeneity(local_means(film, valid))
    assert not difference.significant


def test_an_image_of_another_film_is_found():
    film = films(POWER, 12, np.random.default_rng(8), 0.4)
    film[7] = films(spectrum(SHAPE, 10, 0.1), 1, np.random.default_rng(9), -0.2)[0]
    local = local_means(film)
    difference, part = inhomogeneity(local)
    assert difference.significant
    assert part.images == slice(7, 8)
    assert "in image 8 and" in not_uniform(local, Steps())[0]


def test_parts_are_told_in_pixels_of_the_whole_image():
    local = local_means(films(POWER, 1, np.random.default_rng(5)))
    words = in_words(local, Part(slice(10, 20), slice(0, 40)), Steps(crop=(100, 400, 30, 400), zoom=2.0))
    assert words == "in the pixels of rows 120 to 140 and columns 30 to 110"


@pytest.mark.parametrize(
    ("angle", "refused"),
    [(0.0, ("rotation",)), (np.pi / 4, ("rotation", "reflection"))],
    ids=["axis", "diagonal"],
)
def test_preferred_directions_refuse_symmetries(angle, refused):
    ky, kx = np.meshgrid(*(np.fft.fftfreq(n) for n in SHAPE), indexing="ij")
    power = POWER * (1 + 0.5 * np.cos(2 * (np.arctan2(ky, kx) - angle)))
    local = local_means(films(power, 8, np.random.default_rng(4)))
    found, sentences = refused_symmetries(anisotropy(local), (8, 8))
    assert found == refused
    assert "not the same in all directions" in sentences[0]
    assert refused_symmetries(anisotropy(local), (8, 12))[0] == refused[1:]


def test_training_and_test_patches_of_two_films_differ():
    rng = np.random.default_rng(3)
    first, second = (films(spectrum((8, 8), 4, 0.8), 300, rng, h) for h in (0.0, 0.3))
    blocks = Blocks(np.arange(300), 300)
    assert split_difference(first, second, (blocks, blocks), 4).significant
    assert not split_difference(
        first[:150], first[150:], (Blocks(np.arange(150), 150),) * 2, 4
    ).significant


@pytest.mark.slow
@pytest.mark.parametrize("num", [1, 6])
def test_uniform_films_are_told_from_others(num):
    """A film without dirt, racetracks or gradient from films with them."""
    false, missed = 0, 0
    for seed in range(10):
        film = films(POWER, num, np.random.default_rng([seed, num]), 0.4)
        false += inhomogeneity(local_means(film))[0].significant
        others = with_dirt(film), with_tracks(film), with_gradient(0.4, num, [seed, num])
        missed += sum(not inhomogeneity(local_means(other))[0].significant for other in others)
    assert false <= 1
    assert missed <= 1
