import numpy as np
import pytest

from lightdan.images.background import illumination, line_offsets, polynomial

RNG = np.random.default_rng(0)


def texture(rows=40, columns=60, share=0.5):
    coarse = RNG.random((rows // 4, columns // 4)) < share
    return np.where(np.kron(coarse, np.ones((4, 4))) > 0, 1.0, -1.0)


@pytest.mark.parametrize("share", [0.5, 0.2, 0.9])
def test_illumination_is_found_whatever_the_domains(share):
    """The fit recovers the illumination, whereas a fit to the image would follow the magnetisation.

    A few pixels may be assigned to the wrong phase, which changes the result by less than 1 %.
    """
    light = polynomial([100.0, 10, -20, 5, 3, -15], (40, 60))
    image = light * (1 + 0.1 * texture(share=share))
    found, two_phases = illumination(image, np.ones(image.shape, bool))
    assert two_phases
    np.testing.assert_allclose(polynomial(found, (40, 60)), light, rtol=0.01)


def test_illumination_of_masked_one_phase_and_signed_images():
    light = polynomial([100.0, 10, -20, 5, 3, -15], (40, 60))
    spins, valid = texture(), np.ones((40, 60), bool)
    burnt = light * (1 + 0.1 * spins)
    burnt[30:, 40:], valid[30:, 40:] = 1e4, False
    found, _ = illumination(burnt, valid)
    np.testing.assert_allclose(polynomial(found, (40, 60)), light, rtol=1e-6)
    noisy = light * (1 + 0.01 * RNG.normal(size=light.shape))
    found, two_phases = illumination(noisy, np.ones_like(valid))
    assert not two_phases
    np.testing.assert_allclose(polynomial(found, (40, 60)), light, rtol=0.01)
    found, two_phases = illumination(light - 100 + 30 * spins, np.ones_like(valid))
    assert two_phases  # the illumination of a difference of images is subtracted
    middle = polynomial(found, (40, 60))
    np.testing.assert_allclose(middle - middle.mean(), light - light.mean(), atol=1e-6)
    found, two_phases = illumination(np.where(spins > 0, light, 0), np.ones_like(valid))
    assert two_phases  # a dark phase without any light
    assert np.isfinite(found).all()
    same, two_phases = illumination(np.full((40, 60), 7.0), np.ones_like(valid))
    assert not two_phases
    np.testing.assert_allclose(same, [7, 0, 0, 0, 0, 0], atol=1e-9)


def test_offsets_of_lines_are_found_beside_domains():
    """The fit is exact for two sharp phases; medians of differences alone already follow most lines."""
    offsets = RNG.normal(size=40)
    image = 5 * texture() + offsets[:, None]
    found = line_offsets(image, np.ones(image.shape, bool))
    np.testing.assert_allclose(found, offsets - offsets.mean(), atol=1e-9)
    valid = np.ones(image.shape, bool)
    valid[3], valid[10:20, :20] = False, False
    found = line_offsets(np.where(valid, image, 1e6), valid)
    lines = np.arange(40) != 3
    shift = (found - offsets)[lines].mean()
    np.testing.assert_allclose(found[lines], offsets[lines] + shift, atol=1e-9)
    one = RNG.normal(size=40)[:, None] + np.zeros((40, 60))
    np.testing.assert_allclose(line_offsets(one, np.ones(one.shape, bool)), one[:, 0] - one.mean())
