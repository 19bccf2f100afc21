"""Sentences about the end of a training."""

from functools import partial

import numpy as np
import pytest
import torch
from trainers import quiet_trainer

from lightdan import MADE, Recorded
from lightdan.runs.convergence import Convergence, verdict

STEPS = np.arange(10, 310, 10)


def history(values):
    return [(int(step), float(value)) for step, value in zip(STEPS, values, strict=True)]


NOISE = 0.005 * np.random.default_rng(0).normal(size=len(STEPS))
CURVES = {
    "exponential, long finished": (1 + 2 * np.exp(-STEPS / 20), None),
    "with noise": (100 + 60 * np.exp(-STEPS / 20) + NOISE, None),
    "a start that cannot be improved": (2.9 + NOISE / 5, None),
    "an overfit that is small": (2.9 + 0.00003 * STEPS, None),
    "straight line": (3 - STEPS / 300, "still falling"),
    "exponential, half way": (100 + 60 * np.exp(-STEPS / 150), "still falling"),
    "fast, then slow": (1 + 2 * np.exp(-STEPS / 20) - STEPS / 1000, "still falling"),
    "negative values": (-50 - STEPS / 10, "still falling"),
    "falls, then rises": (3 - 2 * np.exp(-(((STEPS - 90) / 60) ** 2)), "was rising"),
    "rises from the beginning": (1 + STEPS / 100, "since step 10"),
}


@pytest.mark.parametrize(("values", "expected"), CURVES.values(), ids=CURVES)
def test_verdict(values, expected):
    sentence = verdict(history(values))
    assert sentence is None if expected is None else expected in sentence


def test_two_validations_tell_nothing():
    assert verdict([(1, 2.0), (2, 1.0)]) is None


def test_a_short_training_says_so_also_after_a_resume(tmp_path, capsys):
    """GHZ states of four qubits: ln 2 is far away after a few steps."""
    rows = np.repeat(np.random.default_rng(0).integers(0, 2, 400)[:, None], 4, 1)
    np.save(tmp_path / "ghz.npy", rows)
    system = Recorded(str(tmp_path / "ghz.npy"), batch_size=100)
    callback = Convergence()
    trainer = quiet_trainer(max_epochs=8, num_sanity_val_steps=0, callbacks=[callback])
    optimizer = partial(torch.optim.AdamW, lr=0.006)
    trainer.fit(MADE.for_system(system, optimizer=optimizer), system)
    assert "val_loss was still falling" in capsys.readouterr().out
    assert [step for step, _ in callback.history] == [3 * epoch for epoch in range(1, 9)]
    resumed = Convergence()
    resumed.load_state_dict(callback.state_dict())
    assert resumed.history == callback.history
