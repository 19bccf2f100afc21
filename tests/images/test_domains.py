import numpy as np

from lightdan.images import domains


def test_domains_by_hand():
    patches = np.array([[[1, 1, -1], [1, -1, -1], [1, 1, 1]], [[1, 1, 1]] * 3])
    number, walls = domains.domains(patches)
    np.testing.assert_allclose(number * 9, [2, 1])
    np.testing.assert_allclose(walls * 9, [5, 0])
    checkered = (-1) ** np.add.outer(np.arange(4), np.arange(4))[None]
    number, walls = domains.domains(checkered)
    assert (number * 16, walls * 16) == (16, 24)
