"""Shapes and types are checked while the tests run; torch keeps to one thread."""

import torch
from jaxtyping import install_import_hook

# Only where tensors cross: the command line reads the signatures of systems and architectures.
CHECKED = ["lightdan.conditionals", "lightdan.lattice", "lightdan.data"]
install_import_hook(CHECKED, "beartype.beartype")

torch.set_num_threads(1)
