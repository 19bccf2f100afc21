import itertools
import math
from typing import ClassVar

import pytest
import torch
from variants import VariantTests, of_cells

from lightdan import Recurrent
from lightdan.architectures.sweeps import RunningSweeps, Sweeps
from lightdan.lattices.graphs import graph
from lightdan.testing import randomize

TORI = [(1, 16), (4, 4), (3, 5), (6, 2), (5, 1), (2, 3, 3), (3, 1, 4)]


class TestSmall(VariantTests):
    """Chains and planes; with more axes, the last one is that of the sites of a cell."""

    lattices: ClassVar = [(2, 3), (5,), (2, 2, 3), (1, 2, 2, 2)]

    def make(self, lattice_shape, **kwargs):
        cells = len(lattice_shape) > 2
        options = of_cells(lattice_shape) if cells else {"lattice_shape": lattice_shape}
        return Recurrent(units=3, states=1, depth=2 if cells else 1, **options, **kwargs)


def some_sweeps(cells):
    torch.manual_seed(0)
    return randomize(Sweeps(3, cells))


def sums(sweeps, cells, u):
    """Return the states as sums over all pairs of cells, sweep by sweep."""
    d, states = len(cells), []
    places = [*itertools.product(*map(range, cells))]
    u = u.flatten(2).unflatten(0, (-1, 3))
    for level in reversed(range(d)):
        for backwards in itertools.product((False, True), repeat=d - level):
            if level < d - 1 and cells[level] == 1:
                continue
            number = len(states)
            decays = []
            for axis in range(level, d):
                earlier = sum(2 ** (d - k) for k in range(axis + 1, d) if k == d - 1 or cells[k] > 1)
                raw = getattr(sweeps, ("through", "down", "along")[axis - d])
                decays.append(raw[number - earlier].tanh())
            state = torch.zeros_like(u[number])
            for (a, i), (b, j) in itertools.product(enumerate(places), repeat=2):
                if i[:level] != j[:level] or j[level] >= i[level]:
                    continue
                weight = torch.ones(3, dtype=u.dtype)
                for axis, decay, back in zip(range(level, d), decays, backwards, strict=True):
                    steps = (i[axis] - j[axis]) * (-1 if back else 1) % cells[axis]
                    weight *= (1 - decay**2) * decay ** (steps - (axis == level))
                state[:, :, a] += weight[:, None] * u[number, :, :, b]
            states.append(state)
    return torch.cat(states).unflatten(2, cells)


@pytest.mark.parametrize("cells", TORI, ids=str)
def test_sweeps_are_the_sums(cells):
    sweeps = some_sweeps(cells)
    u = torch.randn(sweeps.total, 4, *cells, dtype=torch.float64)
    with torch.no_grad():
        expected = sums(sweeps, cells, u)
        torch.testing.assert_close(sweeps(u), expected, rtol=1e-12, atol=1e-12)
        running = RunningSweeps(sweeps, 4, cells)
        for cell in range(math.prod(cells)):
            now = expected.flatten(2)[..., cell]
            torch.testing.assert_close(running.states(), now, rtol=1e-12, atol=1e-12)
            running.push(u.flatten(2)[..., cell])


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        *({"lattice_shape": shape} for shape in [(7,), (1, 5), (4, 4), (3, 5), (2, 3, 4)]),
        of_cells((3, 4, 2)),
        of_cells((2, 2, 2, 3)),
    ],
    ids=lambda options: str(options["lattice_shape"]),
)
def test_each_site_sees_all_that_precede_it(options, depth):
    model = randomize(Recurrent(**options, units=3, states=2, depth=depth))
    jacobian = torch.autograd.functional.jacobian(model, model.sample(1, seed=1))
    seen = jacobian.reshape(model.num_sites, model.num_sites) != 0
    assert torch.equal(seen, torch.ones_like(seen).tril(-1))


@pytest.mark.parametrize("options", [{"units": 0}, {"states": 0}, {"depth": 0}])
def test_sizes_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"Recurrent needs {next(iter(options))} ≥ 1, not"):
        Recurrent(lattice_shape=(4,), **options)


def test_lattices_of_four_axes_are_refused():
    with pytest.raises(ValueError, match="at most 3 axes, not 4"):
        Recurrent(lattice_shape=(2, 2, 2, 2))


def test_graphs_are_refused():
    with pytest.raises(ValueError, match="Recurrent needs displacements, and a graph has none"):
        Recurrent(lattice_shape=(3,), lattice_spec=graph(3, [(0, 1)]).spec)
