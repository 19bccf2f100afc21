"""Survey of a stack: numbers of each image and of all, what to set, and the width of walls."""

import math

import numpy as np
import pytest
from scipy import ndimage

from lightdan.images.film import FilmNumbers
from lightdan.images.independence import Independence
from lightdan.images.survey import suggest, survey
from lightdan.images.walls import RISE, profile, wall_width
from lightdan.statistics import Estimate

RNG = np.random.default_rng(0)


def film(**numbers):
    estimates = {name: Estimate(value, 0.0) for name, value in numbers.items()}
    return FilmNumbers(estimates, *[np.zeros(1)] * 6, 0)


@pytest.mark.parametrize("pixels", [1.0, 2.5])
@pytest.mark.parametrize("period", [6, 10, 20, 50, 100, 400])
@pytest.mark.parametrize("wall", [math.nan, 0.7, 3.0, 9.0])
def test_a_suggested_site_resolves_a_period_and_a_patch_has_two(pixels, period, wall):
    site, patch, reach = suggest(film(domain_period=period / pixels), pixels, wall)
    assert site >= 1
    assert 6 <= period / site <= 12.001
    assert patch * site == pytest.approx(2 * period, rel=0.05)
    assert reach * site == pytest.approx(1.5 * period, abs=0.501 * site)
    if 1 <= wall <= period / 6 and wall >= period / 12:
        assert site == wall


def test_patch_and_reach_are_in_sites_that_have_been_chosen():
    assert suggest(film(domain_period=4), 5.0, 3.0, 2.0) == (2.0, 20, 15)
    assert suggest(film(domain_period=20), 2.0, 3.0, 2.0) == (2.0, 24, 30)


def test_without_a_period_a_patch_has_five_correlation_lengths():
    assert suggest(film(correlation_length=3.0), 1.0, math.nan) == (1.0, 15, 11)
    assert suggest(film(correlation_length=3.0), 2.0, 2.0) == (2.0, 15, 11)
    assert suggest(film(correlation_length=0.3), 1.0, 1.0) == (1.0, 8, 6)
    assert suggest(film(correlation_length=90.0), 1.0, 1.0) == suggest(film(), 1.0, 1.0) == (1.0, 24, 18)


@pytest.mark.parametrize("blur", [0.7, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_width_of_walls(blur, noise):
    """Straight walls that are blurred by σ rise within 2.563 σ, also with some noise."""
    y, x = np.mgrid[:200, :300]
    texture = np.where((x + 0.4 * y) % 60 < 30, 1.0, -1.0)
    image = ndimage.gaussian_filter(texture, blur) + noise * RNG.normal(size=texture.shape)
    valid = np.ones(image.shape, bool)
    valid[50:60] = False
    found = wall_width(*profile(np.where(valid, image, 9.0), image > 0, valid))
    assert found == pytest.approx(RISE * blur, rel=0.1)


def test_no_wall_has_no_width():
    one = np.ones((9, 9))
    assert math.isnan(wall_width(*profile(one, one > 0, one > 0)))


def test_survey_of_frames():
    """The mean of frames is that of all; the typical one is the one with the median."""
    y, x = np.mgrid[:128, :160]
    textures = np.stack(
        [np.where((x + 0.3 * y + 7 * k) % 16 < width, 1, -1) for k, width in enumerate((5, 8, 7))]
    ).astype(np.int8)
    valid = np.ones((128, 160), bool)
    found = survey(textures, valid, Independence.of(textures, valid), 1)
    fractions = [frame.estimates["area_fraction"].value for frame in found.frames]
    assert fractions == pytest.approx([5 / 16, 8 / 16, 7 / 16], abs=0.01)
    assert found.together.estimates["area_fraction"].value == pytest.approx(np.mean(fractions), abs=0.01)
    assert found.typical() == 2
    some = survey(textures, valid, Independence.of(textures, valid), 1, 2)
    assert some.images.tolist() == [0, 2]
    assert some.frames[1].estimates == found.frames[2].estimates
    period = 16 / math.hypot(1, 0.3)
    for numbers in (*found.frames, found.together):
        assert numbers.estimates["domain_period"].value == pytest.approx(period, rel=0.01)
