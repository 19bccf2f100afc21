import pytest
import torch
from variants import VariantTests

from lightdan import Recurrent
from lightdan.architectures.recurrent import RunningSweeps, Sweeps
from lightdan.testing import randomize

PLANES = [(1, 16), (4, 4), (3, 5), (6, 2), (5, 1)]


class TestShallow(VariantTests):
    def make(self, **kwargs):
        return Recurrent(units=3, states=1, depth=1, **kwargs)


def some_sweeps(plane):
    torch.manual_seed(0)
    return randomize(Sweeps(3, rows=plane[0] > 1))


def walk(sweeps, u):
    """Return the states of `Sweeps` by its recurrences, site by site."""
    along = sweeps.along.tanh()
    u = u.unflatten(0, (-1, 3))
    gain = (1 - along.square())[:, :, None]
    states = torch.zeros_like(u)
    num, rows, columns = u.shape[2:]
    for r in range(rows):
        forward, across = torch.zeros(2, 3, num, dtype=u.dtype)
        for c in range(columns):
            states[0, :, :, r, c] = forward
            states[1, :, :, r, c] = across * along[1, :, None] ** (columns - 1 - c)
            forward = along[0, :, None] * forward + gain[0] * u[0, :, :, r, c]
            across = across + along[1, :, None] ** c * gain[1] * u[1, :, :, r, c]
    if not sweeps.rows:
        return states.flatten(0, 1)
    down, v = sweeps.down.tanh(), torch.zeros_like(u)
    for kind, sign in zip(range(2, 6), (1, -1, 1, -1), strict=True):
        decay, amplitude = (x[kind].reshape(3, 1, 1, 1) for x in (along, gain))
        for distance in range(columns):
            v[kind] += amplitude * decay**distance * u[kind].roll(sign * distance, -1)
        if kind < 4:
            for r in range(1, rows):
                fresh = (1 - down[kind - 2, :, None, None].square()) * v[kind][:, :, r - 1]
                states[kind, :, :, r] = down[kind - 2, :, None, None] * states[kind, :, :, r - 1] + fresh
            continue
        for r in range(rows):
            for before in range(r):
                weight = down[kind - 2, :, None, None] ** (rows - r + before - 1)
                fresh = (1 - down[kind - 2, :, None, None].square()) * v[kind][:, :, before]
                states[kind, :, :, r] += weight * fresh
    return states.flatten(0, 1)


@pytest.mark.parametrize("plane", PLANES, ids=str)
def test_sweeps_are_the_recurrences(plane):
    sweeps = some_sweeps(plane)
    u = torch.randn(sweeps.total, 4, *plane, dtype=torch.float64)
    with torch.no_grad():
        expected = walk(sweeps, u)
        torch.testing.assert_close(sweeps(u), expected, rtol=1e-12, atol=1e-12)
        running = RunningSweeps(sweeps, 4, plane)
        for site in range(plane[0] * plane[1]):
            now = expected.flatten(2)[..., site]
            torch.testing.assert_close(running.states(), now, rtol=1e-12, atol=1e-12)
            running.push(u.flatten(2)[..., site])


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("shape", [(7,), (1, 5), (4, 4), (3, 5)], ids=str)
def test_each_site_sees_all_that_precede_it(shape, depth):
    model = randomize(Recurrent(lattice_shape=shape, units=3, states=2, depth=depth))
    jacobian = torch.autograd.functional.jacobian(model, model.sample(1, seed=1))
    seen = jacobian.reshape(model.num_sites, model.num_sites) != 0
    assert torch.equal(seen, torch.ones_like(seen).tril(-1))


@pytest.mark.parametrize("options", [{"units": 0}, {"states": 0}, {"depth": 0}])
def test_sizes_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"Recurrent needs {next(iter(options))} ≥ 1, not"):
        Recurrent(lattice_shape=(4,), **options)


def test_lattices_of_three_axes_are_refused():
    with pytest.raises(ValueError, match="at most 2 axes, not 3"):
        Recurrent(lattice_shape=(2, 2, 2))
