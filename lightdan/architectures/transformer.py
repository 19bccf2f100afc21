"""Transformer: causal attention with relative positions on the torus, and a cache of keys and values."""

import itertools
import math
from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdan.architectures.base import Architecture
from lightdan.lattices.orderings import Ordering
from lightdan.types import Configurations, PerConfiguration


class Transformer(Architecture):
    """Each site attends to those before it, by content and by where on the torus they lie.

    a_i = b + V h_i^d with h^k = h' + MLP(LN(h')), h' = h^{k−1} + Σ_heads W softmax_j(l_ij) v_j. Keys
    k_j and values v_j are affine in LN(h_j^{k−1}) and the features f(s_j) of the sites j < i, or of
    earlier levels; one more of each is seen by all. Queries q_i are affine in LN(h_i^{k−1}). In a head

        l_ij = q_i · k_j/√(dim q) + Σ_axes α (cos 2π(x_i − x_j − c)/L − 1) (L/2π)²,

    the latter near −α (x_i − x_j − c)²/2: it looks by a width α^{−1/2} of its own around a displacement
    c of its own. h_i^0 is that of `Neighbours`. No weight knows a site's place or the lattice's size.
    (A. Vaswani et al., arXiv:1706.03762; positions: J.-B. Cordonnier et al., arXiv:1911.03584.)

    Args:
        width: Hidden units h of a site.
        heads: Heads of attention in each layer.
        depth: Layers d.
        kwargs: Of `Architecture`.

    Raises:
        ValueError: width, heads or depth below 1, or more than five axes.

    Example:
        >>> model = Transformer(lattice_shape=(4, 4), width=8, heads=2)
        >>> tuple(model.sample(3, seed=0).shape)
        (3, 4, 4)
    """

    sees_levels = True

    def __init__(self, width: int = 48, heads: int = 4, depth: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if min(width, heads, depth) < 1:
            raise ValueError(
                f"Transformer needs width, heads and depth ≥ 1, not width = {width}, heads = {heads}, "
                f"depth = {depth}."
            )
        if (num_axes := sum(side > 1 for side in self.lattice_shape)) > 5:
            raise ValueError(f"Transformer has positions on up to five axes, not on {num_axes}.")
        outputs = self.conditional.num_parameters
        self.embedding = Neighbours(self.ordering, self.lattice_shape, self.num_features, width)
        self.positions = Positions(self.ordering, self.lattice_shape)
        self.blocks: list[Block] = nn.ModuleList(  # type: ignore[assignment]
            Block(width, heads, self.num_features, num_axes) for _ in range(depth)
        )
        self.readout = nn.Parameter(0.3 * torch.randn(outputs, width) / width**0.5)
        self.add_bias(outputs)
        self.visible: Tensor | None
        self.register_buffer("visible", None, persistent=False)
        if max(self.ordering.levels) > 1:
            level = self.ordering.level
            self.visible = F.pad(level[:, None] > level[:-1], (1, 0), value=True)

    def forward(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> Tensor:
        """Parameters of all sites `(B, sites, parameters)`."""
        x = self.features(configurations.flatten(1), temperature)
        hidden = self.embedding(x)
        for block in self.blocks:
            hidden = block(hidden, x, self.positions, self.visible)
        return self.outputs(hidden, temperature)

    def incremental(
        self, num: int, temperature: PerConfiguration | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """The same level by level, at the cost of about one pass in all."""
        x = self._any_weight.new_zeros(num, self.num_sites, self.num_features)
        caches = [block.cache(num, self.num_sites) for block in self.blocks]
        start = 0
        for size in self.ordering.levels:
            level = slice(start, start + size)
            hidden = self.embedding(x, level)
            below = []
            for block, (keys, values) in zip(self.blocks, caches, strict=True):
                below.append(hidden)
                queries = block.queries(hidden, self.positions.queries(block, level))
                known = slice(start + 1)
                hidden = block.join(hidden, attention(queries, keys[:, :, known], values[:, :, known]))
            drawn = yield self.outputs(hidden, temperature)
            x[:, level] = self.features(drawn, temperature)
            new = slice(start + 1, start + size + 1)
            for block, hidden, (keys, values) in zip(self.blocks, below, caches, strict=True):
                keys[:, :, new], values[:, :, new] = block.keys_and_values(
                    hidden, x[:, level], self.positions.keys(block, level)
                )
            start += size

    def outputs(self, hidden: Tensor, temperature: PerConfiguration | None) -> Tensor:
        """Parameters of the sites of the hidden units `(B, n, width)`: `(B, n, parameters)`."""
        constant = self.biases(len(hidden), temperature).unsqueeze(1)
        return F.linear(hidden, self.readout).to(constant) + constant


class Neighbours(nn.Module):
    """h_i = e + Σ_n [E_n f(s_n) + E'_n f(s_n)/√d_n + e_n + e'_n/√d_n] over known sites that bound i.

    In each direction along each axis of the torus, n is the nearest site that precedes i, at a
    distance d_n. In raster order (r, c) is bounded by (r, c − 1), (r − 1, c) and, across the
    boundary, (r, 0) and (0, c).

    Args:
        ordering: Of the sites.
        shape: Of the lattice.
        num_features: Of a site.
        width: Of h.
    """

    def __init__(self, ordering: Ordering, shape: Sequence[int], num_features: int, width: int) -> None:
        super().__init__()
        raster = torch.arange(len(ordering.sites)).reshape(*shape)
        level = ordering.level[ordering.places].reshape(*shape)
        found = []
        for step, (axis, side) in itertools.product((1, -1), enumerate(shape)):
            if side == 1:
                continue
            nearest, distance = torch.zeros_like(raster), torch.zeros_like(raster)
            for steps in range(side - 1, 0, -1):
                precedes = level.roll(step * steps, axis) < level
                nearest = torch.where(precedes, raster.roll(step * steps, axis), nearest)
                distance = torch.where(precedes, steps, distance)
            found.append(torch.stack([ordering.places[nearest], distance]).flatten(1)[:, ordering.sites])
        both = torch.stack(found, dim=2) if found else raster.new_zeros(2, 1, 0)
        self.nearest: Tensor
        self.distance: Tensor
        self.register_buffer("nearest", both[0], persistent=False)  # (sites, directions)
        self.register_buffer("distance", both[1], persistent=False)  # 0 where none precedes
        fan_in = both.shape[2] * 2 * (num_features + 1)
        self.weight = nn.Parameter(torch.randn(width, fan_in) / max(fan_in, 1) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, sites: slice = slice(None)) -> Tensor:
        """Of features `(B, sites, features)`, for some of the sites."""
        distance = self.distance[sites].unsqueeze(-1).to(x.dtype)
        scale = torch.cat([distance.clamp(max=1), distance.where(distance == 0, distance**-0.5)], dim=-1)
        known = F.pad(x[:, self.nearest[sites]], (0, 1), value=1.0)  # (B, n, directions, features + 1)
        seen = known.unsqueeze(-1) * scale.unsqueeze(-2)
        return F.linear(seen.flatten(2), self.weight, self.bias)


class Positions(nn.Module):
    """What queries and keys have of positions, whose product is that of `Transformer`.

    Args:
        ordering: Of the sites.
        shape: Of the lattice.
    """

    def __init__(self, ordering: Ordering, shape: Sequence[int]) -> None:
        super().__init__()
        sides = [side for side in shape if side > 1]
        places = torch.stack(torch.unravel_index(ordering.sites, tuple(shape)), dim=1)
        self.places: Tensor
        self.sides: Tensor
        self.register_buffer("places", places[:, [side > 1 for side in shape]], persistent=False)
        self.register_buffer("sides", torch.tensor(sides, dtype=torch.long), persistent=False)

    def queries(self, block: "Block", sites: slice = slice(None)) -> Tensor:
        """Of the heads `(heads, sites, 2 axes + 1)`."""
        unit = self.sides.to(block.centre) / (2 * math.pi)
        strength = block.log_alpha.exp() * unit.square()  # (heads, axes)
        turned = (self.places[sites] - block.centre.unsqueeze(1)) / unit  # (heads, sites, axes)
        parts = [strength.unsqueeze(1) * f(turned) for f in (torch.cos, torch.sin)]
        constant = -strength.sum(1)[:, None, None].expand(-1, turned.shape[1], 1)
        return torch.cat([*parts, constant], dim=-1)

    def keys(self, block: "Block", sites: slice = slice(None)) -> Tensor:
        """The same for all heads `(sites, 2 axes + 1)`."""
        phases = 2 * math.pi * self.places[sites].to(block.centre) / self.sides
        return torch.cat([phases.cos(), phases.sin(), phases.new_ones(len(phases), 1)], dim=-1)


class Block(nn.Module):
    """Attention and a perceptron of one hidden layer, each added to what it gets.

    Args:
        width: Hidden units of a site.
        heads: Heads of attention.
        num_features: Of a site.
        num_axes: Of the lattice.
    """

    head_width = 16
    """Of keys and values; a multiple of 8 is what the kernels of attention are made for."""

    def __init__(self, width: int, heads: int, num_features: int, num_axes: int) -> None:
        super().__init__()
        self.heads = heads
        self.content = self.head_width - 2 * num_axes - 1
        self.norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, heads * self.content)
        self.key_value = nn.Linear(width + num_features, heads * (self.content + self.head_width))
        self.start = nn.Parameter(torch.zeros(2, heads, self.head_width))
        self.out = nn.Linear(heads * self.head_width, width)
        # Every second head sees all sites alike at first, for what is known by content, like x_0.
        near = torch.arange(heads) % 2 == 0
        alpha = torch.where(near, 2.0, 1e-3)
        self.log_alpha = nn.Parameter(alpha.log().unsqueeze(1).repeat(1, num_axes))
        self.centre = nn.Parameter(first_displacements(heads, num_axes))
        self.perceptron = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )

    def forward(self, hidden: Tensor, x: Tensor, positions: Positions, visible: Tensor | None) -> Tensor:
        """Hidden units `(B, sites, width)` with features `(B, sites, features)` of the same."""
        before = slice(hidden.shape[1] - 1)
        queries = self.queries(hidden, positions.queries(self))
        places = positions.keys(self, before)
        keys, values = self.keys_and_values(hidden[:, before], x[:, before], places)
        start = self.start[:, None, :, None].expand(-1, len(x), -1, -1, -1)
        keys, values = (torch.cat([a, b], dim=2) for a, b in zip(start, (keys, values), strict=True))
        seen = attention(queries, keys, values, attn_mask=visible, is_causal=visible is None)
        return self.join(hidden, seen)

    def cache(self, num: int, num_sites: int) -> Tensor:
        """Keys and values of the start, and room for those of all sites `(2, B, heads, N + 1, D)`."""
        both = self.start.new_empty(2, num, self.heads, num_sites + 1, self.head_width)
        both[:, :, :, 0] = self.start.unsqueeze(1)
        return both

    def queries(self, hidden: Tensor, positions: Tensor) -> Tensor:
        """`(B, heads, n, D)`."""
        content = self.query(self.norm(hidden)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        content = (content / self.content**0.5).to(positions)
        return torch.cat([content, positions.expand(len(content), -1, -1, -1)], dim=-1)

    def keys_and_values(self, hidden: Tensor, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Each `(B, heads, n, D)`."""
        both = self.key_value(torch.cat([self.norm(hidden), x], dim=-1))
        both = both.unflatten(2, (self.heads, -1)).transpose(1, 2)
        keys, values = both.to(positions).split([self.content, self.head_width], dim=-1)
        return torch.cat([keys, positions.expand(*keys.shape[:3], -1)], dim=-1), values

    def join(self, hidden: Tensor, seen: Tensor) -> Tensor:
        """The next hidden units, from what the heads have seen."""
        hidden = hidden + self.out(seen.transpose(1, 2).flatten(2))
        joined: Tensor = hidden + self.perceptron(self.second_norm(hidden))
        return joined


def attention(queries: Tensor, keys: Tensor, values: Tensor, **options: Any) -> Tensor:
    """Σ_j softmax_j(q_i · k_j) v_j, in full precision."""
    # That of positions is a small difference of large numbers.
    with torch.autocast(queries.device.type, enabled=False):
        return F.scaled_dot_product_attention(queries, keys, values.to(keys), scale=1.0, **options)


def first_displacements(num: int, num_axes: int) -> Tensor:
    """The shortest ones to sites that precede in raster order, but for neighbours `(num, axes)`."""
    reach = range(-num - 1, num + 2)
    steps = itertools.product(reach, repeat=num_axes)
    before = [s for s in steps if s > (0,) * num_axes and sum(x * x for x in s) > 1]
    nearest = sorted(before, key=lambda step: sum(x * x for x in step))[:num] or [()] * num
    return torch.tensor(nearest, dtype=torch.get_default_dtype())
