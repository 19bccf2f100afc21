"""Learn the Hamiltonian of configurations with deep autoregressive networks."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lightdan.architectures.base import Architecture
    from lightdan.architectures.made import MADE
    from lightdan.architectures.pixelcnn import PixelCNN
    from lightdan.callbacks.base import Measurement
    from lightdan.callbacks.coupling_graph import CouplingGraph
    from lightdan.callbacks.couplings import Couplings
    from lightdan.callbacks.ensemble import Ensemble, NotMeasurable
    from lightdan.callbacks.free_energy import FreeEnergy
    from lightdan.callbacks.phase_structure import PhaseStructure
    from lightdan.callbacks.renormalization_flow import RenormalizationFlow
    from lightdan.callbacks.report import Result
    from lightdan.checkpoints import load
    from lightdan.conditionals import (
        Bernoulli,
        BetaMixture,
        BoxBetaMixture,
        Categorical,
        CircularSpline,
        Conditional,
        GaussianMixture,
        VonMisesMixture,
    )
    from lightdan.objectives import MaximumLikelihood, Objective, VariationalFreeEnergy
    from lightdan.spin_hamiltonian import Operator, SpinHamiltonian, edwards_anderson
    from lightdan.statistics import Estimate
    from lightdan.systems.base import System
    from lightdan.systems.block_spin import BlockSpin
    from lightdan.systems.ising import Ising
    from lightdan.systems.path import DoubleWell, Path
    from lightdan.systems.recorded import Recorded
    from lightdan.systems.scalar_field import ScalarField
    from lightdan.systems.xy import XY

_PUBLIC = {
    "Architecture": "lightdan.architectures.base",
    "Bernoulli": "lightdan.conditionals",
    "BetaMixture": "lightdan.conditionals",
    "BlockSpin": "lightdan.systems.block_spin",
    "BoxBetaMixture": "lightdan.conditionals",
    "Categorical": "lightdan.conditionals",
    "CircularSpline": "lightdan.conditionals",
    "Conditional": "lightdan.conditionals",
    "CouplingGraph": "lightdan.callbacks.coupling_graph",
    "Couplings": "lightdan.callbacks.couplings",
    "Ensemble": "lightdan.callbacks.ensemble",
    "Estimate": "lightdan.statistics",
    "FreeEnergy": "lightdan.callbacks.free_energy",
    "GaussianMixture": "lightdan.conditionals",
    "Ising": "lightdan.systems.ising",
    "MADE": "lightdan.architectures.made",
    "MaximumLikelihood": "lightdan.objectives",
    "Measurement": "lightdan.callbacks.base",
    "NotMeasurable": "lightdan.callbacks.ensemble",
    "Objective": "lightdan.objectives",
    "Operator": "lightdan.spin_hamiltonian",
    "PhaseStructure": "lightdan.callbacks.phase_structure",
    "RenormalizationFlow": "lightdan.callbacks.renormalization_flow",
    "PixelCNN": "lightdan.architectures.pixelcnn",
    "Path": "lightdan.systems.path",
    "Recorded": "lightdan.systems.recorded",
    "Result": "lightdan.callbacks.report",
    "DoubleWell": "lightdan.systems.path",
    "ScalarField": "lightdan.systems.scalar_field",
    "SpinHamiltonian": "lightdan.spin_hamiltonian",
    "System": "lightdan.systems.base",
    "VariationalFreeEnergy": "lightdan.objectives",
    "VonMisesMixture": "lightdan.conditionals",
    "XY": "lightdan.systems.xy",
    "edwards_anderson": "lightdan.spin_hamiltonian",
    "load": "lightdan.checkpoints",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch is a matter of seconds."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
