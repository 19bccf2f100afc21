import warnings

import numpy as np
import pytest
import tifffile
from gaussian_films import films, spectrum

from lightdan import KerrImages, SyntheticKerrImages
from lightdan.data.splits import SPLITS
from lightdan.images.microscope import film
from lightdan.images.patches import cut

RNG = np.random.default_rng(0)
# Textures of 2 × 2 sites are a lattice, and not the same everywhere.
pytestmark = pytest.mark.filterwarnings("ignore:.*not the same", "ignore:.*not show the same film")


def texture(rows=24, columns=32):
    coarse = RNG.random((rows // 2, columns // 2)) < 0.5
    return np.kron(coarse, np.ones((2, 2), int)).astype(bool)


def write(folder, textures, dtype=np.uint16):
    folder.mkdir(exist_ok=True)
    for number, bright in enumerate(textures):
        image = np.where(bright, 1200, 800).astype(dtype)
        tifffile.imwrite(folder / f"image{number}.tif", image)
    return str(folder)


def numbered(number):
    """Return images in which every pixel has its own number."""
    sites = np.arange(24 * 32).reshape(24, 32)
    return [(sites + k) for k in range(number)]


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "images", [texture() for _ in range(12)])


def test_spins_are_the_texture(folder):
    system = KerrImages(folder, patch=4, background="none")
    system.setup()
    first = tifffile.imread(f"{folder}/image0.tif") > 1000
    np.testing.assert_array_equal(system.textures[0] > 0, first)
    assert system.num_configurations == 12 * 6 * 8
    assert sum(map(system.data.num_in, ("train", "validation", "test"))) == 12 * 6 * 8
    assert system.series.split_by == "image"
    assert system.summary["area_fraction"].value == pytest.approx((system.textures > 0).mean())


def shared_pixels(system):
    """Count the pixels that occur in two splits."""
    numbers = np.arange(system.textures.size).reshape(system.textures.shape)
    places, shape = system.series.division.places, system.lattice_shape
    seen = [set(cut(numbers, part, shape).flatten().tolist()) for part in places]
    assert all(seen)
    return len(seen[0] & seen[1]) + len(seen[0] & seen[2]) + len(seen[1] & seen[2])


@pytest.mark.parametrize("split", ["image", "space"])
@pytest.mark.parametrize("stride", [1, 3, 4])
def test_no_pixel_is_in_two_splits(split, stride, folder):
    system = KerrImages(folder, patch=4, stride=stride, split=split, splits=(0.6, 0.2, 0.2))
    system.setup()
    assert shared_pixels(system) == 0


def test_one_image_is_split_in_space(tmp_path):
    system = KerrImages(write(tmp_path / "one", [texture()]), patch=(4, 6))
    with pytest.warns(UserWarning, match=r"worth about \d\d? independent patches only"):
        system.setup()
    assert system.series.split_by == "space"
    assert system.lattice_shape == (4, 6)
    assert shared_pixels(system) == 0


def test_copies_are_told_and_stay_together(tmp_path):
    different = [texture() for _ in range(12)]
    noisy = [np.where(RNG.random(t.shape) < 0.02, ~t, t) for t in different]
    system = KerrImages(write(tmp_path / "twice", different + noisy), patch=4)
    with pytest.warns(UserWarning, match=r"12 of the 24 images .* textures is 12"):
        system.setup()
    copies = system.series.independence.repeats.copies
    np.testing.assert_array_equal(copies[:12], copies[12:])
    np.testing.assert_array_equal(*np.split(system.series.division.images, 2))


def test_masked_sites_are_in_no_patch(folder):
    system = KerrImages(folder, patch=4, masks=[(0, 4, 0, 32), (20, 21, 0, 1)])
    system.setup()
    assert system.num_configurations == 12 * (5 * 8 - 1)
    assert not system.stack.sites[:, :4].any()


def test_coarse_graining_by_micrometres(folder):
    system = KerrImages(folder, patch=4, pixel_size=0.5, site_size=1.0)
    system.setup()
    assert system.textures.shape == (12, 12, 16)
    np.testing.assert_array_equal(system.textures, np.where(system.textures > 0, 1, -1))
    assert system.unit == "µm"
    with pytest.raises(ValueError, match=r"site_size 0\.1 µm is smaller than a pixel, 0\.5 µm"):
        KerrImages(folder, patch=4, pixel_size=0.5, site_size=0.1).setup()


def test_grey_levels_and_local_thresholds(tmp_path):
    folder = tmp_path / "greys"
    folder.mkdir()
    for number in range(12):
        classes = np.kron(RNG.integers(3, size=(12, 16)), np.ones((2, 2), int))
        tifffile.imwrite(folder / f"{number}.tif", (1000 + 100 * classes).astype(np.uint16))
    system = KerrImages(str(folder), patch=4, num_levels=3, background="none")
    system.setup()
    assert system.site_kind == "level"
    np.testing.assert_array_equal(np.unique(system.textures), [0, 1, 2])
    classes = (tifffile.imread(folder / "0.tif") - 1000) // 100
    np.testing.assert_array_equal(system.textures[0], classes)
    local = KerrImages(str(folder), patch=4, threshold="local", window=11, background="none")
    with pytest.warns(UserWarning, match="the phases overlap"):
        local.setup()
    assert set(np.unique(local.textures)) == {-1, 1}


def test_each_field_is_a_film_of_its_own(tmp_path):
    folder = tmp_path / "sweep"
    folder.mkdir()
    fields = np.repeat([-5.0, 0.0, 7.5], 2)
    for number, field in enumerate(fields):
        bright = np.kron(RNG.random((24, 32)) < 0.5 + field / 40, np.ones((2, 2), bool))
        tifffile.imwrite(folder / f"film_B{field:g}mT_{number:03d}.tif", np.where(bright, 9, 2))
    with pytest.raises(ValueError, match=r"seem to hold values of B, .*\{B: 'B\*mT'\}"):
        KerrImages(str(folder), patch=4).setup()
    system = KerrImages(str(folder), patch=4, controls={"B": "B*mT"}, splits=(0.5, 0.2, 0.3))
    system.setup()
    assert system.control_names == ("B",)
    assert [part.fixed_controls["B"] for part in system.parts] == [-5.0, 0.0, 7.5]
    assert sum(part.num_configurations for part in system.parts) == system.num_configurations
    for part in system.parts:
        name = f"_B{part.fixed_controls['B']:g}mT_"
        assert [name in str(page) for page in part.stack.usable] == [True, True]
        expected = 0.5 + part.fixed_controls["B"] / 40
        assert part.summary["area_fraction"].value == pytest.approx(expected, abs=0.06)
        for split, expected in zip(SPLITS, part.series.patches(), strict=True):
            patches = part.data.rows(split, 1.0)
            np.testing.assert_array_equal(patches, expected)
            assert part.blocks(split, 1.0).num == len(patches)
            same = system.data.controls_of(split, 1.0)[:, 0] == part.fixed_controls["B"]
            assert int(same.sum()) == len(patches)
    assert system.blocks("test", 1.0).num == system.data.num_in("test")


def test_number_of_patches_can_be_limited(folder):
    system = KerrImages(folder, patch=4, num_configurations=100)
    system.setup()
    assert abs(sum(map(system.data.num_in, ("train", "validation", "test"))) - 100) <= 2
    few = KerrImages(folder, patch=4, num_images=11)
    few.setup()
    assert len(few.textures) == 11


@pytest.mark.filterwarnings("ignore:.*copies of others")
def test_bad_images_are_named_or_skipped(folder, tmp_path):
    path = tmp_path / "images"
    tifffile.imwrite(path / "small.tif", np.zeros((24, 32), np.uint8))
    with pytest.raises(ValueError, match=r"small\.tif has values of uint8, but .*image0\.tif of uint16"):
        KerrImages(folder, patch=4).setup()
    (path / "small.tif").write_bytes(b"II*\0")
    with pytest.raises(ValueError, match=r"small\.tif cannot be read"):
        KerrImages(folder, patch=4).setup()
    system = KerrImages(folder, patch=4, bad_files="skip")
    with pytest.warns(UserWarning, match=r"small\.tif cannot be read .*it is skipped"):
        system.setup()
    (path / "a.tif").write_bytes(b"II*\0")
    with pytest.raises(ValueError, match=r"a\.tif cannot be read"):
        KerrImages(folder, patch=4).setup()
    assert len(system.textures) == 12


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patch": 30}, "patch of 30 × 30 sites is larger than an image of 24 × 32"),
        ({"patch": 12, "split": "space"}, "no room for three splits"),
        ({"threshold": 5.0}, "leaves one phase"),
        ({"crop": (30, 40, 0, 10)}, "leaves nothing of an image of 24 × 32"),
        ({"masks": [(0, 24, 0, 32)]}, "masks leave nothing"),
        ({"masks": [(0, 24, k, k + 1) for k in range(0, 32, 4)], "patch": 4}, "without masked pixels"),
    ],
    ids=str,
)
def test_images_that_do_not_suffice_are_refused(options, words, folder):
    with pytest.raises(ValueError, match=words):
        KerrImages(folder, **{"patch": 4, **options}).setup()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patch": 1}, "patch must be two sides of at least 2 sites, not 1"),
        ({"stride": 0}, "stride must be at least 1, not 0"),
        ({"window": 50}, "window must be a positive odd number, not 50"),
        ({"num_levels": 1}, "num_levels must be at least 2, not 1"),
        ({"splits": (0.5, 0.5, 0.5)}, "splits must be three positive fractions"),
        ({"denoise": -1.0}, "denoise must be finite and not negative, not -1"),
        ({"num_levels": 3, "threshold": "local"}, "set threshold to otsu"),
        ({"temperature": [1.0, 2.0]}, "must be one number for images"),
    ],
    ids=str,
)
def test_bad_options_are_refused_before_any_image_is_read(options, words):
    with pytest.raises(ValueError, match=words):
        KerrImages("nowhere", **options)


def test_images_of_one_grey_and_few_textures_are_refused(tmp_path):
    folder = tmp_path / "grey"
    folder.mkdir()
    for number in range(3):
        tifffile.imwrite(folder / f"{number}.tif", np.full((16, 16), 100, np.uint8))
    with pytest.raises(ValueError, match="a single grey value"):
        KerrImages(str(folder), patch=4).setup()
    two = write(tmp_path / "two", [texture(), texture()])
    with pytest.raises(ValueError, match="2 different textures are too few to split"):
        KerrImages(two, patch=4, split="image").setup()


def synthetic(tmp_path, **options):
    arguments = {"film": (32, 40), "num_images": 12, "patch": 8, "cache_dir": str(tmp_path)} | options
    system = SyntheticKerrImages(**arguments)
    system.setup()
    return system


@pytest.mark.filterwarnings("ignore:.*independent patches only")
@pytest.mark.parametrize("temperature", [2.0, 2.269185])
def test_film_is_found_again_in_its_images(temperature, tmp_path):
    """Even near and below T_c, where an image may show a single phase."""
    system = synthetic(tmp_path, temperature=temperature)
    truth = film((32, 40), temperature, 12)
    assert (system.textures != truth).mean() < 2e-3


def test_scale_bar_is_seen_and_masked(tmp_path):
    # Nothing else is bright beside the bar.
    bar = r"\[\[117, 121, 120, 152\]\]"
    with (
        pytest.warns(UserWarning, match=f"if it is a scale bar, set masks to {bar}"),
        pytest.raises(ValueError, match=f"not show 2 phases, because .*: set masks to {bar}"),
    ):
        synthetic(tmp_path, scale_bar=True)
    system = synthetic(tmp_path, scale_bar=True, masks=[(117, 122, 120, 152)])
    assert (system.textures != film((32, 40), 2.5, 12))[system.stack.sites].mean() < 2e-3


def test_what_is_done_is_reported(tmp_path, capsys):
    system = synthetic(tmp_path, temperature=3.0)
    output = capsys.readouterr().out
    assert "12 images of 128 × 160 pixels (uint16), or 32 × 40 sites of 4 px" in output
    assert f"area fraction of the bright phase: {system.summary['area_fraction']}" in output
    length = system.summary["correlation_length"]
    assert 1.0 < length.value / 4 < 1.6  # C falls to 1/e between the first and the second neighbour
    assert f"{system.data.num_in('train')} train" in output
    assert "drift between images: not seen" in output


def test_drift_of_the_same_film_is_measured(tmp_path, capsys):
    film = np.kron(texture(30, 40), np.ones((3, 3), bool))
    moved = [film[10 - 2 * k : 80 - 2 * k] for k in range(4)]
    with pytest.warns(UserWarning, match="copies of others"):
        KerrImages(write(tmp_path / "moved", moved), patch=8).setup()
    assert "drift between images: 2 px from one to the next" in capsys.readouterr().out


def test_a_film_of_one_direction_refuses_rotations(tmp_path, capsys):
    """Waves of a period of 8 sites, more of them across the rows than along."""
    shape = (96, 128)
    angle = np.arctan2(*np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij"))
    power = spectrum(shape, 8, 0.15)
    rng = np.random.default_rng(0)
    for name, weight, refused in (("even", 0.0, set()), ("uneven", 0.6, {"rotation"})):
        textures = films(power * (1 + weight * np.cos(2 * angle)), 12, rng) > 0
        system = KerrImages(write(tmp_path / name, textures), patch=8)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            system.setup()
        assert {"z2", "rotation", "reflection"} - set(system.symmetries) == refused
        told = [text for text in map(str, system.data.doubts) if "in all directions" in text]
        assert bool(told) == bool(refused)
        assert all(any(text in str(warning.message) for warning in warned) for text in told)
        assert "directions: C(" in capsys.readouterr().out


def test_squares_of_the_film_are_training_sites(tmp_path):
    """Every site has its own number, up to the place of each square."""
    system = KerrImages(write(tmp_path / "film", [texture(96, 128)]), patch=4, background="none")
    system.setup()
    (series,), side = system.films, 7
    series.textures = np.arange(96 * 128).reshape(1, 96, 128)
    squares = system.film_squares(200, side, seed=1).numpy()
    corner = squares[:, :1, :1]
    steps = 128 * np.arange(side)[:, None] + np.arange(side)
    np.testing.assert_array_equal(squares, corner + steps)
    roles = series.division.role_of_sites(0).ravel()
    assert (roles[squares] == 0).all()
    assert len(np.unique(corner)) > 100
    assert system.film_squares(5, 90, seed=1) is None


def test_phases_of_different_areas_cannot_be_exchanged(tmp_path):
    for level, exchanged in ((0.0, True), (0.5, False)):
        waves = films(spectrum((96, 128), 8, 0.15), 12, np.random.default_rng(2), level)
        system = KerrImages(write(tmp_path / str(level), waves > 0), patch=8)
        system.setup()
        assert ("z2" in system.symmetries) == exchanged
