"""60,000 configurations of the 16 × 16 Ising model at T_c, nearly independent; two threads."""

from lightdan.simulation.ising import simulate


def test_simulation(benchmark):
    simulate((16, 16), 2.269185, 100)  # compile
    run = benchmark.pedantic(simulate, args=((16, 16), 2.269185, 60_000), rounds=3)
    assert run.configurations.shape == (60_000, 16, 16)
    assert run.tau_energy.value < 1
