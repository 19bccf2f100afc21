"""Time to simulate nearly independent configurations of 16 × 16 sites on two threads."""

from lightdan.simulation import ising, xy


def test_ising_at_the_critical_temperature(benchmark):
    ising.simulate((16, 16), 2.269185, 100)  # compile
    run = benchmark.pedantic(ising.simulate, args=((16, 16), 2.269185, 60_000), rounds=3)
    assert run.configurations.shape == (60_000, 16, 16)
    assert run.tau["energy"].value < 1


def test_xy_at_the_transition(benchmark):
    xy.simulate((16, 16), 0.8929, 100)  # compile
    run = benchmark.pedantic(xy.simulate, args=((16, 16), 0.8929, 9_000), rounds=3)
    assert run.configurations.shape == (9_000, 16, 16)
    assert all(tau.value < 1 for tau in run.tau.values())
