import numpy as np
import pytest

from lightdan.images import processing
from lightdan.images.processing import Steps

RNG = np.random.default_rng(0)


def texture(rows=40, columns=60, share=0.5):
    coarse = RNG.random((rows // 4, columns // 4)) < share
    return np.where(np.kron(coarse, np.ones((4, 4))) > 0, 1.0, -1.0)


def test_sites_have_the_mean_of_their_pixels():
    image = np.arange(35.0).reshape(5, 7)
    coarse = Steps(zoom=2.5).coarsen(image)
    assert coarse.shape == (2, 2)
    first = image[:2, :2].sum() + image[2, :2].sum() / 2 + image[:2, 2].sum() / 2 + image[2, 2] / 4
    assert coarse[0, 0] == pytest.approx(first / 6.25)
    np.testing.assert_allclose(Steps(zoom=1.75).coarsen(np.ones((7, 14))), np.ones((4, 8)))
    assert Steps(zoom=1.0).coarsen(image) is image


def test_crop_masks_flat_field_and_filter():
    steps = Steps(crop=(2, 12, 3, 20), masks=((10, 15, 15, 25),), denoise=1.0)
    image = np.arange(600.0).reshape(20, 30)
    np.testing.assert_array_equal(steps.cut(image), image[2:12, 3:20])
    valid = steps.valid((20, 30))
    assert valid.shape == (10, 17)
    assert (~valid).sum() == 2 * 5
    np.testing.assert_allclose(steps.flatten(image, image + 1), image / (image + 1))
    np.testing.assert_allclose(steps.flatten(image, image - 300), np.full_like(image, 300))
    flat = np.where(valid, 2.0, 1e6)
    np.testing.assert_allclose(steps.smooth(flat, valid)[valid], 2.0)  # masked pixels have no weight


def test_scale_bars_are_seen_and_domains_are_not():
    bar = (slice(34, 37), slice(40, 55))
    images = np.stack([100 + 10 * texture() for _ in range(12)])
    assert processing.constant_region(images) is None
    assert processing.constant_region(images[:1]) is None
    images[(slice(None), *bar)] = 255
    assert processing.constant_region(images) == (34, 37, 40, 55)
    assert processing.constant_region(images[:1]) == (34, 37, 40, 55)
