import films
import numpy as np
import pytest
import tifffile

from lightdan.images.microscope import Microscope
from lightdan.images.processing import Steps
from lightdan.images.stack import ImageStack

SHAPE = (128, 128)


def stack_of(folder, images, steps=None, **options):
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(images):
        tifffile.imwrite(folder / f"image{number}.tif", image)
    return ImageStack(str(folder), Steps() if steps is None else steps, **options)


def wrong(texture, film):
    return (texture != film).mean()


@pytest.fixture(scope="module")
def film():
    return films.labyrinth(SHAPE, 20, np.random.default_rng(0))


def noisy(film, snr=1.5, **options):
    optics = {"pixels_per_site": 1, "contrast": 0.1, "dirt": 1, "wall": 1.0} | options
    return next(Microscope(photons=(snr / 0.1) ** 2, **optics).images(film[None]))


def test_noise_is_removed_by_default(film, tmp_path):
    image = noisy(film)
    stack = stack_of(tmp_path / "auto", [image])
    texture = stack.read()[0]
    assert wrong(texture, film) < 0.09
    assert 0.1 / stack.noise == pytest.approx(1.5, rel=0.1)
    assert "signal to noise of a pixel: 1." in stack.description
    plain = stack_of(tmp_path / "plain", [image], Steps(denoise=0.0), threshold=1.0).read()[0]
    assert wrong(plain, film) > 0.2
    # The error of the area fraction is of the size of its deviation.
    deviation = abs((texture > 0).mean() - 0.5)
    assert deviation < 4 * stack.phases.share_errors[1] < 0.1


@pytest.mark.parametrize("threshold", ["hysteresis", "local"])
def test_other_thresholds_and_non_local_means(threshold, film, tmp_path):
    stack = stack_of(tmp_path / "a", [noisy(film, 3)], Steps(denoise="nlm"), threshold=threshold)
    assert wrong(stack.read()[0], film) < 0.08
    assert "non-local means" in stack.description


def test_hysteresis_leaves_out_faint_specks(tmp_path):
    image = np.full((64, 64), 100.0, np.float32)
    image[8:40, 8:40], image[50:53, 50:53] = 200, 160
    image += np.random.default_rng(0).normal(size=image.shape).astype(np.float32)
    options = {"steps": Steps(background="none", denoise=0.0)}
    otsu = stack_of(tmp_path / "a", [image], **options).read()[0]
    hysteresis = stack_of(tmp_path / "a", [image], threshold="hysteresis", **options).read()[0]
    assert (otsu > 0).sum() == 32 * 32 + 9
    assert (hysteresis > 0).sum() == 32 * 32


def test_impossible_images_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=SHAPE)
    ramp = np.linspace(0, 100, 128) + np.zeros(SHAPE)
    kinds = {
        "noise": (1000 + 30 * noise, "polynomial", "separation of 2.7"),
        "ramp": (1000 + ramp + noise, "polynomial", "separation of 2.7"),
        "steep": (1000 + ramp + noise, "none", "a smooth change of brightness makes 100% of their"),
        "specks": (
            1000 + 300 * (rng.random(SHAPE) < 0.02) + 30 * noise,
            "polynomial",
            "bright|separation",
        ),
        "spots": (np.where(rng.random(SHAPE) < 0.02, 200, 100), "polynomial", "only 2.* are bright"),
    }
    for name, (image, background, words) in kinds.items():
        stack = stack_of(tmp_path / name, [image.astype(np.uint16)], Steps(background=background))
        with pytest.raises(ValueError, match=rf"image0\.tif does not show 2 phases, because .*{words}"):
            stack.read()


@pytest.mark.parametrize(("diameter", "share"), [(20, 0.06), (20, 0.1), (10, 0.1)])
def test_few_bubbles_pass(diameter, share, tmp_path):
    film = films.bubbles(SHAPE, diameter, np.random.default_rng(1), share)
    texture = stack_of(tmp_path / "a", [noisy(film, 3)]).read()[0]
    assert ((texture > 0) & (film > 0)).sum() > 0.8 * ((texture > 0) | (film > 0)).sum()


def test_mask_and_reference_from_files(film, tmp_path):
    light = 1000 + 900 * np.sin(np.arange(128) / 20) ** 2 + np.zeros(SHAPE)
    mask = np.zeros(SHAPE, np.uint8)
    mask[20:50, 30:70] = 255
    noise = np.random.default_rng(0).normal(size=SHAPE)
    image = np.where(mask > 0, 4000, light * (1 + 0.05 * film + 0.005 * noise)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "reference.tif", light.astype(np.uint16))
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    files = {"masks": str(tmp_path / "mask.tif"), "background": str(tmp_path / "reference.tif")}
    crop = (10, 120, 0, 128)
    stack = stack_of(tmp_path / "a", [image], Steps(crop=crop, **files))
    texture = stack.read()[0]
    np.testing.assert_array_equal(stack.masks.pixels(stack.usable[0]), mask[10:120] == 0)
    np.testing.assert_array_equal(texture[stack.sites[0]], film[10:120][stack.sites[0]])
    tifffile.imwrite(tmp_path / "mask.tif", mask[:100])
    with pytest.raises(
        ValueError, match=r"mask\.tif of masks is 100 × 128, but the images are 128 × 128"
    ):
        stack_of(tmp_path / "a", [image], Steps(**files)).read()


def test_offsets_of_scan_lines_are_removed(film, tmp_path):
    rng = np.random.default_rng(0)
    image = film + 10 * rng.normal(size=(128, 1)) + 0.3 * rng.normal(size=SHAPE)
    stack = stack_of(tmp_path / "a", [image.astype(np.float32)], Steps(background="lines"))
    assert wrong(stack.read()[0], film) < 0.01


def test_pixels_without_a_value_are_masked(film, tmp_path):
    """Each image has its own, as after a registration."""
    images = [noisy(film, 3).astype(np.float32) for _ in range(2)]
    images[0][:20], images[1][:, 100:], images[1][60, 60] = np.nan, np.nan, np.inf
    stack = stack_of(tmp_path / "a", images)
    textures = stack.read()
    np.testing.assert_array_equal(stack.sites, np.isfinite(images))
    assert (textures != film)[stack.sites].mean() < 0.05
    tifffile.imwrite(tmp_path / "a.tif", images[0])
    with pytest.raises(ValueError, match=r"a\.tif of background has values that are not finite"):
        stack_of(tmp_path / "a", images, Steps(background=str(tmp_path / "a.tif"))).read()


def test_images_of_several_sizes_are_one_film(film, tmp_path):
    image = noisy(film, 3)
    stack = stack_of(tmp_path / "a", [image, image[:80], image[:, :60].copy()])
    textures = stack.read()
    assert stack.shapes == "3 images, 1 of 128 × 128, 1 of 80 × 128 and 1 of 128 × 60 pixels"
    assert stack.sites.sum(axis=(1, 2)).tolist() == [128 * 128, 80 * 128, 128 * 60]
    assert (textures != film)[stack.sites].mean() < 0.05
    with pytest.raises(
        ValueError, match=r"image1\.tif is 80 × 128, but others are 128 × 128, so they have"
    ):
        stack_of(tmp_path / "a", [], Steps(background="stack")).read()


def test_dead_lines_and_black_pages_are_told(film, tmp_path):
    image = noisy(film, 3)
    dead = image.copy()
    dead[5] = 0
    stack = stack_of(tmp_path / "dead", [dead], Steps(masks=((5, 6, 0, 128),)))
    assert wrong(stack.read()[0][stack.sites[0]], film[stack.sites[0]]) < 0.05
    line = r"set masks to \[\[5, 6, 0, 128\]\]"
    with pytest.warns(UserWarning, match=line), pytest.raises(ValueError, match=line):
        stack_of(tmp_path / "line", [dead]).read()
    black = stack_of(tmp_path / "black", [image, np.zeros_like(image), image.T.copy()], skip=True)
    with pytest.warns(UserWarning, match=r"image1\.tif has a single grey value, 0, all black; it is sk"):
        texture = black.read()
    assert len(texture) == 2
    assert wrong(texture[0], film) < 0.05
