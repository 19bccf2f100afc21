"""Transformer: causal attention with relative positions on the torus."""

import itertools
import math
from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdan.architectures.base import Architecture
from lightdan.lattices.lattice import Lattice
from lightdan.lattices.orderings import Ordering
from lightdan.types import Conditions, Configurations


class Transformer(Architecture):
    """Attention of each site to the sites before it, by content and by relative position on the torus.

        a_i = b + V h_i^d
        h^k = h' + MLP(LN(h')),    h' = h^{k−1} + Σ_heads W softmax_j(l_ij) v_j
        l_ij = q_i · k_j/√(dim q) + Σ_axes α (cos 2π(x_i − x_j − c)/L − 1) (L/2π)²

    Keys k_j and values v_j are affine in LN(h_j^{k−1}) and the features f(s_j) of the sites j in earlier
    stages; every site also sees one learned key and value. Queries q_i are affine in LN(h_i^{k−1}).

    The second term of l_ij is close to −α (x_i − x_j − c)²/2: each head looks around a displacement c of
    its own with a width α^{−1/2} of its own. The axes are those of the cells. `Neighbours` makes h^0,
    with weights of their own for each site of a cell. No weight depends on the place of the cell or the
    size of the lattice. A graph is one cell: attention is by content only.

    Args:
        width: Number of hidden units h per site.
        heads: Number of heads of attention in each layer.
        depth: Number d of layers.
        kwargs: Arguments of `Architecture`.

    Raises:
        ValueError: width, heads or depth is below 1, or the lattice has more than five axes.

    References:
        A. Vaswani et al., Attention Is All You Need, arXiv:1706.03762.
        J.-B. Cordonnier et al., arXiv:1911.03584, on relative positions.

    Example:
        >>> model = Transformer(lattice_shape=(4, 4), width=8, heads=2)
        >>> tuple(model.sample(3, seed=0).shape)
        (3, 4, 4)
    """

    sees_stages = True

    def __init__(self, width: int = 48, heads: int = 4, depth: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check_positive(width=width, heads=heads, depth=depth)
        self.positions = Positions(self.ordering, self.lattice)
        if (num_axes := len(self.positions.sides)) > 5:
            raise ValueError(
                f"Transformer needs a lattice of at most five axes, not {num_axes}: use MADE."
            )
        outputs = self.conditional.num_parameters
        self.embedding = Neighbours(self.ordering, self.lattice, self.num_features, width)
        self.blocks: list[Block] = nn.ModuleList(  # type: ignore[assignment]
            Block(width, heads, self.num_features, num_axes) for _ in range(depth)
        )
        self.readout = nn.Parameter(0.3 * torch.randn(outputs, width) / width**0.5)
        self.add_bias(outputs)
        self.visible: Tensor | None
        self.register_buffer("visible", None, persistent=False)
        if max(self.ordering.stages) > 1:
            stage = self.ordering.stage
            self.visible = F.pad(stage[:, None] > stage[:-1], (1, 0), value=True)

    def forward(self, configurations: Configurations, conditions: Conditions | None = None) -> Tensor:
        """Return the parameters of all sites `(B, sites, parameters)`."""
        x = self.features(configurations.flatten(1), conditions)
        hidden = self.embedding(x)
        for block in self.blocks:
            hidden = block(hidden, x, self.positions, self.visible)
        return self.outputs(hidden, conditions)

    def incremental(
        self, num: int, conditions: Conditions | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """Yield the parameters stage by stage; all stages together cost about one pass."""
        x = self._any_weight.new_zeros(num, self.num_sites, self.num_features)
        caches = [block.cache(num, self.num_sites) for block in self.blocks]
        start = 0
        for size in self.ordering.stages:
            stage = slice(start, start + size)
            hidden = self.embedding(x, stage)
            below = []
            for block, (keys, values) in zip(self.blocks, caches, strict=True):
                below.append(hidden)
                queries = block.queries(hidden, self.positions.queries(block, stage))
                earlier = slice(start + 1)
                heads = attention(queries, keys[:, :, earlier], values[:, :, earlier])
                hidden = block.join(hidden, heads)
            draws = yield self.outputs(hidden, conditions)
            x[:, stage] = self.features(draws, conditions)
            new = slice(start + 1, start + size + 1)
            for block, hidden, (keys, values) in zip(self.blocks, below, caches, strict=True):
                keys[:, :, new], values[:, :, new] = block.keys_and_values(
                    hidden, x[:, stage], self.positions.keys(block, stage)
                )
            start += size

    def outputs(self, hidden: Tensor, conditions: Conditions | None) -> Tensor:
        """Return the parameters `(B, n, parameters)` of n sites from hidden units `(B, n, width)`."""
        constant = self.biases(len(hidden), conditions).unsqueeze(1)
        return F.linear(hidden, self.readout).to(constant) + constant


class Neighbours(nn.Module):
    """Embedding of a site by the nearest sites of earlier stages.

        h_i = e + Σ_n [E_n f(s_n) + E'_n f(s_n)/√d_n + e_n + e'_n/√d_n]

    In each direction n along each axis of the array, around the torus, s_n is the nearest site that
    precedes i, and d_n its distance. In raster order the neighbours of (r, c) are (r, c − 1), (r − 1, c)
    and, across the boundary, (r, 0) and (0, c). On a graph they are the preceding neighbours of i. The
    weights e and E belong to the site of a cell, or to the site of a graph.

    Args:
        ordering: Order of the sites.
        lattice: Lattice or graph.
        num_features: Number of features per site.
        width: Number of hidden units h per site.
    """

    def __init__(self, ordering: Ordering, lattice: Lattice, num_features: int, width: int) -> None:
        super().__init__()
        both = adjacent(ordering, lattice) if lattice.is_graph else along_axes(ordering, lattice.shape)
        self.nearest: Tensor
        self.distance: Tensor
        self.kinds: Tensor
        self.register_buffer("nearest", both[0], persistent=False)  # (sites, directions)
        self.register_buffer("distance", both[1], persistent=False)  # 0 where none precedes
        num_kinds = lattice.num_sites if lattice.is_graph else lattice.num_basis
        self.register_buffer("kinds", ordering.sites % num_kinds, persistent=False)
        fan_in = both.shape[2] * 2 * (num_features + 1)
        several = (num_kinds,) if num_kinds > 1 else ()
        self.weight = nn.Parameter(torch.randn(*several, width, fan_in) / max(fan_in, 1) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(*several, width))

    def forward(self, x: Tensor, sites: slice = slice(None)) -> Tensor:
        """Return h `(B, n, width)` of some sites, from the features of all `(B, sites, features)`."""
        distance = self.distance[sites].unsqueeze(-1).to(x.dtype)
        scale = torch.cat([distance.clamp(max=1), distance.where(distance == 0, distance**-0.5)], dim=-1)
        nearest = F.pad(x[:, self.nearest[sites]], (0, 1), value=1.0)  # (B, n, directions, features + 1)
        inputs = (nearest.unsqueeze(-1) * scale.unsqueeze(-2)).flatten(2)
        if self.weight.ndim == 2:
            return F.linear(inputs, self.weight, self.bias)
        kinds = self.kinds[sites]
        return torch.einsum("bnf,nwf->bnw", inputs, self.weight[kinds]) + self.bias[kinds]


def along_axes(ordering: Ordering, shape: Sequence[int]) -> Tensor:
    """Return the nearest preceding sites along the axes and their distances `(2, sites, directions)`."""
    raster = torch.arange(len(ordering.sites)).reshape(*shape)
    stage = ordering.stage[ordering.places].reshape(*shape)
    directions = []
    for step, (axis, side) in itertools.product((1, -1), enumerate(shape)):
        if side == 1:
            continue
        nearest, distance = torch.zeros_like(raster), torch.zeros_like(raster)
        for steps in range(side - 1, 0, -1):
            precedes = stage.roll(step * steps, axis) < stage
            nearest = torch.where(precedes, raster.roll(step * steps, axis), nearest)
            distance = torch.where(precedes, steps, distance)
        both = torch.stack([ordering.places[nearest], distance])
        directions.append(both.flatten(1)[:, ordering.sites])
    return torch.stack(directions, dim=2) if directions else raster.new_zeros(2, 1, 0)


def adjacent(ordering: Ordering, lattice: Lattice) -> Tensor:
    """Return the preceding neighbours of each site, distance 1, or 0 `(2, sites, most neighbours)`."""
    starts, others, _ = lattice.links
    stage = ordering.stage[ordering.places]
    before = [
        [j for j in others[starts[i] : starts[i + 1]].tolist() if stage[j] < stage[i]]
        for i in ordering.sites.tolist()
    ]
    both = torch.zeros(2, len(before), max(map(len, before)), dtype=torch.long)
    for place, found in enumerate(before):
        both[0, place, : len(found)] = ordering.places[found]
        both[1, place, : len(found)] = 1
    return both


class Positions(nn.Module):
    """Parts of queries and keys whose product is the positional term of `Transformer`.

    Args:
        ordering: Order of the sites.
        lattice: Lattice, or a graph, which has no such term.
    """

    def __init__(self, ordering: Ordering, lattice: Lattice) -> None:
        super().__init__()
        axes = [k for k, side in enumerate(lattice.cells) if side > 1 and not lattice.is_graph]
        sides = [lattice.cells[axis] for axis in axes]
        places = torch.from_numpy(lattice.places)[ordering.sites]
        self.places: Tensor
        self.sides: Tensor
        self.register_buffer("places", places[:, axes], persistent=False)
        self.register_buffer("sides", torch.tensor(sides, dtype=torch.long), persistent=False)

    def queries(self, block: "Block", sites: slice = slice(None)) -> Tensor:
        """Return the positional part of the queries `(heads, sites, 2 axes + 1)`."""
        unit = self.sides.to(block.centre) / (2 * math.pi)
        strength = block.log_alpha.exp() * unit.square()  # (heads, axes)
        phases = (self.places[sites] - block.centre.unsqueeze(1)) / unit  # (heads, sites, axes)
        parts = [strength.unsqueeze(1) * f(phases) for f in (torch.cos, torch.sin)]
        constant = -strength.sum(1)[:, None, None].expand(-1, phases.shape[1], 1)
        return torch.cat([*parts, constant], dim=-1)

    def keys(self, block: "Block", sites: slice = slice(None)) -> Tensor:
        """Return the positional part of the keys, common to all heads `(sites, 2 axes + 1)`."""
        phases = 2 * math.pi * self.places[sites].to(block.centre) / self.sides
        return torch.cat([phases.cos(), phases.sin(), phases.new_ones(len(phases), 1)], dim=-1)


class Block(nn.Module):
    """Residual layer of attention, followed by a residual perceptron with one hidden layer.

    Args:
        width: Number of hidden units per site.
        heads: Number of heads of attention.
        num_features: Number of features per site.
        num_axes: Number of axes of the lattice with several sites.
    """

    head_width = 16
    """Size D of keys and values; kernels of attention are fast at multiples of 8."""

    def __init__(self, width: int, heads: int, num_features: int, num_axes: int) -> None:
        super().__init__()
        self.heads = heads
        self.content = self.head_width - 2 * num_axes - 1
        self.norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, heads * self.content)
        self.key_value = nn.Linear(width + num_features, heads * (self.content + self.head_width))
        self.start = nn.Parameter(torch.zeros(2, heads, self.head_width))
        self.out = nn.Linear(heads * self.head_width, width)
        # Every other head starts almost without positional bias, to attend by content (e.g. to x_0).
        near = torch.arange(heads) % 2 == 0
        alpha = torch.where(near, 2.0, 1e-3)
        self.log_alpha = nn.Parameter(alpha.log().unsqueeze(1).repeat(1, num_axes))
        self.centre = nn.Parameter(first_displacements(heads, num_axes))
        self.perceptron = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )

    def forward(self, hidden: Tensor, x: Tensor, positions: Positions, visible: Tensor | None) -> Tensor:
        """Return the next hidden units, from hidden units `(B, N, width)` and features `(B, N, F)`."""
        before = slice(hidden.shape[1] - 1)
        queries = self.queries(hidden, positions.queries(self))
        places = positions.keys(self, before)
        keys, values = self.keys_and_values(hidden[:, before], x[:, before], places)
        start = self.start[:, None, :, None].expand(-1, len(x), -1, -1, -1)
        keys, values = (torch.cat([a, b], dim=2) for a, b in zip(start, (keys, values), strict=True))
        heads = attention(queries, keys, values, attn_mask=visible, is_causal=visible is None)
        return self.join(hidden, heads)

    def cache(self, num: int, num_sites: int) -> Tensor:
        """Return the learned key and value, with room for all sites `(2, B, heads, N + 1, D)`."""
        both = self.start.new_empty(2, num, self.heads, num_sites + 1, self.head_width)
        both[:, :, :, 0] = self.start.unsqueeze(1)
        return both

    def queries(self, hidden: Tensor, positions: Tensor) -> Tensor:
        """Return the queries `(B, heads, n, D)` of n sites."""
        content = self.query(self.norm(hidden)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        content = (content / self.content**0.5).to(positions)
        return torch.cat([content, positions.expand(len(content), -1, -1, -1)], dim=-1)

    def keys_and_values(self, hidden: Tensor, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of n sites, each `(B, heads, n, D)`."""
        both = self.key_value(torch.cat([self.norm(hidden), x], dim=-1))
        both = both.unflatten(2, (self.heads, -1)).transpose(1, 2)
        keys, values = both.to(positions).split([self.content, self.head_width], dim=-1)
        return torch.cat([keys, positions.expand(*keys.shape[:3], -1)], dim=-1), values

    def join(self, hidden: Tensor, heads: Tensor) -> Tensor:
        """Return the next hidden units, from the outputs of the heads `(B, heads, n, D)`."""
        hidden = hidden + self.out(heads.transpose(1, 2).flatten(2))
        joined: Tensor = hidden + self.perceptron(self.second_norm(hidden))
        return joined


def attention(queries: Tensor, keys: Tensor, values: Tensor, **options: Any) -> Tensor:
    """Return Σ_j softmax_j(q_i · k_j) v_j in full precision."""
    # The positional term is a small difference of large numbers.
    with torch.autocast(queries.device.type, enabled=False):
        return F.scaled_dot_product_attention(queries, keys, values.to(keys), scale=1.0, **options)


def first_displacements(num: int, num_axes: int) -> Tensor:
    """Return the shortest displacements `(num, axes)` to preceding sites that are not neighbours."""
    reach = range(-num - 1, num + 2)
    steps = itertools.product(reach, repeat=num_axes)
    before = [s for s in steps if s > (0,) * num_axes and sum(x * x for x in s) > 1]
    nearest = sorted(before, key=lambda step: sum(x * x for x in step))[:num] or [()] * num
    return torch.tensor(nearest, dtype=torch.get_default_dtype())
