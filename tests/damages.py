"""Checkpoints that are well formed, but damaged: parts are missing or of another kind."""

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import torch

ODD: dict[str, Any] = {"none": None, "empty": {}, "list": [], "text": "abc", "zero": 0}
"""Values in place of a part of a checkpoint."""
HUGE = (1_000_000, 1_000_000)
"""Sides of a lattice that no memory holds."""


def damages(checkpoint: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of a damage and the damaged checkpoint, many times over."""
    places = [(name,) for name in checkpoint]
    for name in ("lightdan", "hyper_parameters", "callbacks", "loops", "state_dict"):
        places += [(name, part) for part in checkpoint[name]]
    places += [("lightdan", "recipe", "optimizer"), ("lightdan", "rows", 0, "splits")]
    places += [("optimizer_states", 0), ("lr_schedulers", 0)]
    places += [("optimizer_states", 0, part) for part in ("state", "param_groups")]
    places += [("optimizer_states", 0, "state", 0), ("optimizer_states", 0, "param_groups", 0)]
    places += [("optimizer_states", 0, "state", 0, "exp_avg"), ("loops", "fit_loop", "epoch_progress")]
    for place, kind in itertools.product(places, ["missing", *ODD]):
        damaged = copy.deepcopy(checkpoint)
        *parents, last = place
        parent: Any = damaged
        for key in parents:
            parent = parent[key]
        if kind == "missing":
            del parent[last]
        else:
            parent[last] = ODD[kind]
        yield "/".join(map(str, (*place, kind))), damaged
    for name, change in CHANGES.items():
        damaged = copy.deepcopy(checkpoint)
        change(damaged)
        yield name, damaged


def _reshape(damaged: dict[str, Any]) -> None:
    name = next(iter(damaged["state_dict"]))
    damaged["state_dict"][name] = torch.zeros(3, 3, 3)


def _other_optimizer(damaged: dict[str, Any]) -> None:
    weights = [torch.zeros(shape) for shape in (2, 3)]
    damaged["optimizer_states"] = [torch.optim.SGD(weights, lr=0.1).state_dict()]


def _average(damaged: dict[str, Any]) -> None:
    damaged["optimizer_states"][0]["state"][0]["exp_avg"] = torch.zeros(7)


def _elsewhere(damaged: dict[str, Any]) -> None:
    for state in damaged["callbacks"].values():
        for name in {"best_model_path", "last_model_path", "dirpath"} & state.keys():
            state[name] = "/nowhere/best.ckpt"


CHANGES = {
    "weights of another shape": _reshape,
    "an extra weight": lambda damaged: damaged["state_dict"].update(extra=torch.zeros(2)),
    "weights that are not finite": lambda damaged: [
        weight.fill_(float("nan")) for weight in damaged["state_dict"].values()
    ],
    "a huge lattice": lambda damaged: damaged["hyper_parameters"].update(lattice_shape=HUGE),
    "the state of another optimizer": _other_optimizer,
    "averages of another shape": _average,
    "paths elsewhere": _elsewhere,
    "another architecture": lambda damaged: damaged["lightdan"].update(architecture="lightdan.Nothing"),
    "another format": lambda damaged: damaged["lightdan"].update(format=1),
}
