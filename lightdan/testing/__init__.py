"""Property tests for authors of plugins to subclass."""

from lightdan.testing.architectures import ArchitectureTests
from lightdan.testing.conditionals import ConditionalTests
from lightdan.testing.measurements import MeasurementTests
from lightdan.testing.states import all_configurations, probabilities_of, randomize
from lightdan.testing.systems import SystemTests

__all__ = [
    "ArchitectureTests",
    "ConditionalTests",
    "MeasurementTests",
    "SystemTests",
    "all_configurations",
    "probabilities_of",
    "randomize",
]
