"""Property tests that the author of an architecture or a system subclasses."""

from lightdan.testing.architectures import ArchitectureTests
from lightdan.testing.states import all_configurations, probabilities_of, randomize
from lightdan.testing.systems import SystemTests

__all__ = ["ArchitectureTests", "SystemTests", "all_configurations", "probabilities_of", "randomize"]
