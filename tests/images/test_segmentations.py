import films
import numpy as np
import pytest
import tifffile
from skimage import io

from lightdan.images.processing import Steps
from lightdan.images.segmentations import recognise
from lightdan.images.stack import ImageStack

FILM = films.labyrinth((64, 64), 12, np.random.default_rng(0))
UP = FILM > 0
CLASSES = np.kron(np.random.default_rng(1).integers(3, size=(16, 16)), np.ones((4, 4), int))


def read(folder, image, **options):
    folder.mkdir(exist_ok=True)
    tifffile.imwrite(folder / "mask.tif", image)
    steps = options.pop("steps", Steps())
    stack = ImageStack(str(folder), steps, **options)
    return stack.read()[0], stack


@pytest.mark.parametrize(
    "image",
    [
        UP,
        (255 * UP).astype(np.uint8),
        UP.astype(np.uint8),
        UP.astype(np.float32),
        np.where(UP, 7, 3).astype(np.uint16),
        np.where(UP, 0.9 + 0.1 * np.random.default_rng(2).random(UP.shape), 0.02).astype(np.float32),
    ],
    ids=["bool", "255", "0 and 1", "float", "3 and 7", "probability"],
)
def test_masks_come_in_as_they_are(image, tmp_path):
    texture, stack = read(tmp_path, image)
    np.testing.assert_array_equal(texture, FILM)
    assert "no background, filter or threshold" in stack.description


def test_masks_of_one_bit(tmp_path):
    io.imsave(tmp_path / "mask.png", 255 * UP.astype(np.uint8), check_contrast=False)
    np.testing.assert_array_equal(ImageStack(str(tmp_path), Steps()).read()[0], FILM)


def test_sites_have_the_class_of_most_pixels(tmp_path):
    texture, _ = read(tmp_path, UP, steps=Steps(zoom=3.0))
    shares = np.kron(np.eye(21), np.ones((1, 3)) / 3)
    expected = shares @ UP[:63, :63] @ shares.T > 0.5
    np.testing.assert_array_equal(texture > 0, expected)
    labels, _ = read(tmp_path, CLASSES.astype(np.uint8), steps=Steps(zoom=4.0), levels=(0, 1, 2))
    np.testing.assert_array_equal(labels, CLASSES[::4, ::4])


def test_labels_ask_for_their_number(tmp_path):
    image = CLASSES.astype(np.uint8)
    with pytest.raises(
        ValueError, match=r"with the values 0, 1 and 2, but num_levels is 2: set num_lev"
    ):
        read(tmp_path, image)
    texture, _ = read(tmp_path, image, levels=(0, 1, 2))
    np.testing.assert_array_equal(texture, CLASSES)
    texture, _ = read(tmp_path, image, threshold=0.5)
    np.testing.assert_array_equal(texture > 0, CLASSES > 0)


def test_a_page_with_other_values_is_named(tmp_path):
    pages = [(255 * UP).astype(np.uint8)] * 40
    pages[5] = np.where(UP, 128, 0).astype(np.uint8)
    tifffile.imwrite(tmp_path / "many.tif", np.stack(pages))
    with pytest.raises(ValueError, match=r"many\.tif, page 6 has the value 128 beside 0, 255"):
        ImageStack(str(tmp_path), Steps()).read()


def test_grey_values_are_no_segmentation():
    rng = np.random.default_rng(3)
    assert recognise([rng.poisson(2, (64, 64))]) is None
    assert recognise([(1000 + 100 * CLASSES)]) is None
    assert recognise([rng.random((64, 64)).astype(np.float32)]) is None
    assert recognise([(UP + 0.1 * rng.normal(size=UP.shape)).astype(np.float32)]) is None
