import math

import numpy as np
import pytest

from lightdan.checks import LARGEST, check_integer, check_number, check_seed, check_temperatures


@pytest.mark.parametrize("value", [0, -1.5, np.float32(2.5), np.int64(3), LARGEST, -LARGEST])
def test_numbers_within_the_limits_are_returned(value):
    assert check_number("coupling", value) is value


@pytest.mark.parametrize(
    ("value", "limits", "said"),
    [
        (math.nan, (), "finite, not nan"),
        (-math.inf, (), "finite, not -inf"),
        (1e300, (), r"a number from -1e\+12 to 1e\+12, not 1e\+300"),
        (None, (), "a number, not None"),
        ("abc", (), "a number, not 'abc'"),
        ([1.0], (), "a number, not"),
        (True, (), "a number, not True"),
        (0, (1e-12,), "positive and finite, not 0"),
        (-1, (0,), "finite and not negative, not -1"),
        (math.nan, (0,), "finite and not negative, not nan"),
        (1e-300, (1e-12,), r"a number from 1e-12 to 1e\+12, not 1e-300"),
        (3, (0, 2), "a number from 0 to 2, not 3"),
    ],
)
def test_other_values_are_refused_in_a_sentence(value, limits, said):
    with pytest.raises(ValueError, match=f"^coupling must be {said}.*[.]$"):
        check_number("coupling", value, *limits)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "at least 1, not 0"),
        (2**63, "at most 9223372036854775807, not 9223372036854775808"),
        (1.0, "an integer, not 1.0"),
        (False, "an integer, not False"),
        (None, "an integer, not None"),
    ],
)
def test_integers(value, said):
    assert check_integer("num", np.int32(3)) == 3
    with pytest.raises(ValueError, match=f"^num must be {said}.$"):
        check_integer("num", value)


def test_seeds_may_be_zero():
    assert check_seed("seed", 0) == 0
    with pytest.raises(ValueError, match="seed must be at least 0, not -1"):
        check_seed("seed", -1)


@pytest.mark.parametrize("values", [None, "2.0", [], [1.0, None], [math.inf], [0.0], 1e300])
def test_temperatures(values):
    assert check_temperatures(2) == [2.0]
    assert check_temperatures((1, 2.5)) == check_temperatures(np.array([1, 2.5])) == [1.0, 2.5]
    with pytest.raises(ValueError, match="temperature must be"):
        check_temperatures(values)
    with pytest.raises(ValueError, match="temperature names a value twice"):
        check_temperatures([1.0, 1.0])
