"""Regression of each site on the sites before it, from which the training of MADE starts."""

import torch
from torch import Tensor

from lightdan.architectures.made import MADE
from lightdan.interactions.regressions import Regression


@torch.no_grad()
def set_linear_part(network: MADE, regression: Regression) -> float:
    """Make MADE equal to a regression of spins or levels; its hidden units are silent at first.

    Args:
        network: MADE with linear part, which is changed.
        regression: Regressions of each site on the sites before it, in the order of the network. If the
            conditional of spins has more than one parameter, they are levels in it.

    Returns:
        Width of the prior of the regression, in units of the network's weights.
    """
    assert network.linear is not None
    torch.nn.init.zeros_(network.readout)
    num, features = network.num_sites, regression.sites.num_features
    weight = regression.weight.T.reshape(num, features, num, features)
    bias = regression.bias.reshape(num, features)
    if regression.sites.kind == "spin":
        # The logit is ln p(+1) − ln p(−1) = 2η.
        network.linear.weight.copy_(2 * weight.flatten(2).flatten(0, 1))
        network.bias.copy_(2 * bias)
        return 2 * regression.width
    own = slice(-features, None)  # the first level has η = 0
    full: Tensor = network.linear.weight.new_zeros(num, features + 1, num, features + 1)
    full[:, own, :, own] = weight
    network.linear.weight.copy_(full.flatten(2).flatten(0, 1))
    network.bias.zero_()
    network.bias[:, own] = bias
    return regression.width
