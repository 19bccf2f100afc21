"""Learn the Hamiltonian of configurations with deep autoregressive networks."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lightdan.architectures.base import Architecture
    from lightdan.architectures.made import MADE
    from lightdan.architectures.pixelcnn import PixelCNN
    from lightdan.architectures.recurrent import Recurrent
    from lightdan.architectures.transformer import Transformer
    from lightdan.architectures.triangular import Triangular
    from lightdan.callbacks.base import Measurement, SampledMeasurement
    from lightdan.callbacks.baselines import Baselines
    from lightdan.callbacks.coupling_graph import CouplingGraph
    from lightdan.callbacks.couplings import Couplings
    from lightdan.callbacks.critical_temperature import CriticalTemperature
    from lightdan.callbacks.domains import Domains
    from lightdan.callbacks.ensemble import Ensemble, NotMeasurable
    from lightdan.callbacks.free_energy import FreeEnergy
    from lightdan.callbacks.image_steps import ImageSteps
    from lightdan.callbacks.phase_structure import PhaseStructure
    from lightdan.callbacks.rbm_equivalence import RBMEquivalence
    from lightdan.callbacks.renormalization_flow import RenormalizationFlow
    from lightdan.callbacks.report import Result
    from lightdan.callbacks.structure_factor import StructureFactor
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
    from lightdan.systems.gaussian_field import GaussianField
    from lightdan.systems.ising import Ising
    from lightdan.systems.kerr_images import KerrImages
    from lightdan.systems.path import DoubleWell, Path
    from lightdan.systems.recorded import Recorded
    from lightdan.systems.scalar_field import ScalarField
    from lightdan.systems.synthetic_kerr_images import SyntheticKerrImages
    from lightdan.systems.xy import XY

_PUBLIC = {
    "Architecture": "lightdan.architectures.base",
    "Baselines": "lightdan.callbacks.baselines",
    "Bernoulli": "lightdan.conditionals",
    "BetaMixture": "lightdan.conditionals",
    "BlockSpin": "lightdan.systems.block_spin",
    "BoxBetaMixture": "lightdan.conditionals",
    "Categorical": "lightdan.conditionals",
    "CircularSpline": "lightdan.conditionals",
    "Conditional": "lightdan.conditionals",
    "CouplingGraph": "lightdan.callbacks.coupling_graph",
    "Couplings": "lightdan.callbacks.couplings",
    "CriticalTemperature": "lightdan.callbacks.critical_temperature",
    "Domains": "lightdan.callbacks.domains",
    "DoubleWell": "lightdan.systems.path",
    "Ensemble": "lightdan.callbacks.ensemble",
    "Estimate": "lightdan.statistics",
    "FreeEnergy": "lightdan.callbacks.free_energy",
    "GaussianField": "lightdan.systems.gaussian_field",
    "GaussianMixture": "lightdan.conditionals",
    "ImageSteps": "lightdan.callbacks.image_steps",
    "Ising": "lightdan.systems.ising",
    "KerrImages": "lightdan.systems.kerr_images",
    "MADE": "lightdan.architectures.made",
    "MaximumLikelihood": "lightdan.objectives",
    "Measurement": "lightdan.callbacks.base",
    "NotMeasurable": "lightdan.callbacks.ensemble",
    "Objective": "lightdan.objectives",
    "Operator": "lightdan.spin_hamiltonian",
    "Path": "lightdan.systems.path",
    "PhaseStructure": "lightdan.callbacks.phase_structure",
    "PixelCNN": "lightdan.architectures.pixelcnn",
    "RBMEquivalence": "lightdan.callbacks.rbm_equivalence",
    "Recorded": "lightdan.systems.recorded",
    "Recurrent": "lightdan.architectures.recurrent",
    "RenormalizationFlow": "lightdan.callbacks.renormalization_flow",
    "Result": "lightdan.callbacks.report",
    "SampledMeasurement": "lightdan.callbacks.base",
    "ScalarField": "lightdan.systems.scalar_field",
    "SpinHamiltonian": "lightdan.spin_hamiltonian",
    "StructureFactor": "lightdan.callbacks.structure_factor",
    "SyntheticKerrImages": "lightdan.systems.synthetic_kerr_images",
    "System": "lightdan.systems.base",
    "Transformer": "lightdan.architectures.transformer",
    "Triangular": "lightdan.architectures.triangular",
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
