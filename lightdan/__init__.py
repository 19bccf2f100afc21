"""Learn the Hamiltonian of configurations with deep autoregressive networks."""

import importlib
from typing import TYPE_CHECKING, Any

from lightdan.version import __version__

if TYPE_CHECKING:
    from lightdan.architectures.auto import Auto
    from lightdan.architectures.base import Architecture
    from lightdan.architectures.half_plane import HalfPlane
    from lightdan.architectures.made import MADE
    from lightdan.architectures.pixelcnn import PixelCNN
    from lightdan.architectures.recurrent import Recurrent
    from lightdan.architectures.transformer import Transformer
    from lightdan.architectures.triangular import Triangular
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
    from lightdan.interactions.hamiltonian import ExplicitHamiltonian, edwards_anderson
    from lightdan.interactions.operators import Operator
    from lightdan.measurements.base import Measurement, SampledMeasurement
    from lightdan.measurements.couplings.baselines import Baselines
    from lightdan.measurements.couplings.coupling_graph import CouplingGraph
    from lightdan.measurements.couplings.couplings import Couplings
    from lightdan.measurements.couplings.renormalization_flow import RenormalizationFlow
    from lightdan.measurements.ensemble import Ensemble, NotMeasurable
    from lightdan.measurements.fields.action import Action
    from lightdan.measurements.fields.correlator import Correlator
    from lightdan.measurements.fields.kinks import Kinks
    from lightdan.measurements.fields.rbm_equivalence import RBMEquivalence
    from lightdan.measurements.fields.vortices import Vortices
    from lightdan.measurements.hamiltonian import Hamiltonian
    from lightdan.measurements.images.films import Films
    from lightdan.measurements.images.image_steps import ImageSteps
    from lightdan.measurements.importance_sampling import ImportanceSampling
    from lightdan.measurements.observables import Observables
    from lightdan.measurements.phases.critical_temperature import CriticalTemperature
    from lightdan.measurements.phases.free_energy import FreeEnergy
    from lightdan.measurements.phases.helicity_modulus import HelicityModulus
    from lightdan.measurements.phases.phase_structure import PhaseStructure
    from lightdan.measurements.report import Result
    from lightdan.measurements.symmetry import Symmetry
    from lightdan.objectives import MaximumLikelihood, Objective, VariationalFreeEnergy
    from lightdan.simulation.simulation import Simulation
    from lightdan.statistics import Bound, Estimate
    from lightdan.systems.base import System
    from lightdan.systems.block_spin import BlockSpin
    from lightdan.systems.blume_capel import BlumeCapel
    from lightdan.systems.clock import Clock
    from lightdan.systems.gaussian_field import GaussianField
    from lightdan.systems.ising import Ising
    from lightdan.systems.kerr_images import KerrImages
    from lightdan.systems.path import DoubleWell, Path
    from lightdan.systems.potts import Potts
    from lightdan.systems.recorded import Recorded
    from lightdan.systems.scalar_field import ScalarField
    from lightdan.systems.synthetic_kerr_images import SyntheticKerrImages
    from lightdan.systems.xy import XY

_PUBLIC = {
    "Action": "lightdan.measurements.fields.action",
    "Architecture": "lightdan.architectures.base",
    "Auto": "lightdan.architectures.auto",
    "Baselines": "lightdan.measurements.couplings.baselines",
    "Bernoulli": "lightdan.conditionals",
    "BetaMixture": "lightdan.conditionals",
    "BlockSpin": "lightdan.systems.block_spin",
    "BlumeCapel": "lightdan.systems.blume_capel",
    "Bound": "lightdan.statistics",
    "BoxBetaMixture": "lightdan.conditionals",
    "Categorical": "lightdan.conditionals",
    "CircularSpline": "lightdan.conditionals",
    "Clock": "lightdan.systems.clock",
    "Conditional": "lightdan.conditionals",
    "Correlator": "lightdan.measurements.fields.correlator",
    "CouplingGraph": "lightdan.measurements.couplings.coupling_graph",
    "Couplings": "lightdan.measurements.couplings.couplings",
    "CriticalTemperature": "lightdan.measurements.phases.critical_temperature",
    "DoubleWell": "lightdan.systems.path",
    "Ensemble": "lightdan.measurements.ensemble",
    "Estimate": "lightdan.statistics",
    "Films": "lightdan.measurements.images.films",
    "FreeEnergy": "lightdan.measurements.phases.free_energy",
    "GaussianField": "lightdan.systems.gaussian_field",
    "GaussianMixture": "lightdan.conditionals",
    "HalfPlane": "lightdan.architectures.half_plane",
    "Hamiltonian": "lightdan.measurements.hamiltonian",
    "HelicityModulus": "lightdan.measurements.phases.helicity_modulus",
    "ImageSteps": "lightdan.measurements.images.image_steps",
    "ImportanceSampling": "lightdan.measurements.importance_sampling",
    "Ising": "lightdan.systems.ising",
    "KerrImages": "lightdan.systems.kerr_images",
    "Kinks": "lightdan.measurements.fields.kinks",
    "MADE": "lightdan.architectures.made",
    "MaximumLikelihood": "lightdan.objectives",
    "Measurement": "lightdan.measurements.base",
    "NotMeasurable": "lightdan.measurements.ensemble",
    "Objective": "lightdan.objectives",
    "Observables": "lightdan.measurements.observables",
    "Operator": "lightdan.interactions.operators",
    "Path": "lightdan.systems.path",
    "PhaseStructure": "lightdan.measurements.phases.phase_structure",
    "PixelCNN": "lightdan.architectures.pixelcnn",
    "Potts": "lightdan.systems.potts",
    "RBMEquivalence": "lightdan.measurements.fields.rbm_equivalence",
    "Recorded": "lightdan.systems.recorded",
    "Recurrent": "lightdan.architectures.recurrent",
    "RenormalizationFlow": "lightdan.measurements.couplings.renormalization_flow",
    "Result": "lightdan.measurements.report",
    "SampledMeasurement": "lightdan.measurements.base",
    "ScalarField": "lightdan.systems.scalar_field",
    "Simulation": "lightdan.simulation.simulation",
    "ExplicitHamiltonian": "lightdan.interactions.hamiltonian",
    "Symmetry": "lightdan.measurements.symmetry",
    "SyntheticKerrImages": "lightdan.systems.synthetic_kerr_images",
    "System": "lightdan.systems.base",
    "Transformer": "lightdan.architectures.transformer",
    "Triangular": "lightdan.architectures.triangular",
    "VariationalFreeEnergy": "lightdan.objectives",
    "VonMisesMixture": "lightdan.conditionals",
    "Vortices": "lightdan.measurements.fields.vortices",
    "XY": "lightdan.systems.xy",
    "edwards_anderson": "lightdan.interactions.hamiltonian",
    "load": "lightdan.checkpoints",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, because torch takes seconds to import."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
