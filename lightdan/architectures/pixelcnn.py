"""PixelCNN: masked convolutions, the same weights for every site of the periodic lattice."""

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightdan.architectures.base import Architecture
from lightdan.types import Configurations, PerConfiguration


class PixelCNN(Architecture):
    """Convolutions on the torus, each site seeing those that precede it in raster order.

    a_i = b_i + V_i h_i^d with h^1 = z + tanh z, z_i = c_i + Σ_{j<i} W_{i−j} f(s_j) + closing, and
    h^k = h^{k−1} + tanh(c_i + Σ_{j≤i} W^k_{i−j} h_j^{k−1}). The weights W depend on the displacement
    i − j on the torus only. The receptive field is the whole lattice already in the first layer: its
    kernel is as large as the lattice, and a site sees all preceding ones, at whatever distance, in one
    step. The other kernels are `kernel` × `kernel`. They reach across the boundary to what precedes:
    the last rows see the first ones below them, the last sites of a row the first ones to their right.
    The first sites know few neighbours, the last ones all of theirs; hence the biases b, c and the
    readout V depend on the place, c and V as a sum of a row's and a column's part. For the torus to
    close, a site sees the first sites of its row and of its column by weights of its place: on a
    ring p(x_i | x_<i) knows of x_0 at every i. A chain is one row.
    V is small at first: training begins near the uniform distribution. In orderings other than raster
    the rows are those of the ordering, whose sites are no neighbours on the torus.
    (A. van den Oord et al., arXiv:1601.06759, arXiv:1606.05328.)

    Args:
        channels: Hidden units of a site in each layer.
        depth: Hidden layers d.
        kernel: Side of the kernels after the first, odd; what exceeds the lattice is left out.
        kwargs: Of `Architecture`.

    Raises:
        ValueError: channels, depth or kernel below 1, an even kernel, or more than two dimensions.

    Example:
        >>> model = PixelCNN(lattice_shape=(4, 4), channels=2)
        >>> tuple(model.sample(3, seed=0).shape)
        (3, 4, 4)
    """

    def __init__(self, channels: int = 16, depth: int = 2, kernel: int = 7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if min(channels, depth, kernel) < 1 or kernel % 2 == 0:
            raise ValueError(
                f"PixelCNN needs channels ≥ 1, depth ≥ 1 and an odd kernel ≥ 1, not "
                f"channels = {channels}, depth = {depth}, kernel = {kernel}."
            )
        if len(self.lattice_shape) > 2:
            raise ValueError(f"PixelCNN needs a lattice of one or two axes, not {self.lattice_shape}.")
        outputs = self.conditional.num_parameters
        rows, columns = (1, *self.lattice_shape)[-2:]
        self.plane = rows, columns
        whole = (rows - 1, 0, columns - 1, 0)
        small = reach(kernel, rows) + reach(kernel, columns)
        self.first = CausalConv(self.plane, self.num_features, channels, whole, strict=True)
        self.closing = Closing(self.plane, self.num_features, channels)
        self.layers: list[CausalConv] = nn.ModuleList(  # type: ignore[assignment]
            CausalConv(self.plane, channels, channels, small) for _ in range(depth - 1)
        )
        self.readout = ByPlace((outputs, channels), self.plane, scale=0.3 / channels**0.5)
        self.add_bias(outputs, rows, columns)

    def forward(
        self, configurations: Configurations, temperature: PerConfiguration | None = None
    ) -> Tensor:
        """Parameters of all sites `(B, sites, parameters)`."""
        x = self.features(configurations.flatten(1), temperature)
        x = x.mT.unflatten(2, self.plane)  # (B, features, rows, columns)
        # With the channels innermost a convolution, forward and back, takes 0.6 of the time.
        hidden = self.activate(self.first(x) + self.closing(x))
        hidden = hidden.contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            hidden = hidden + torch.tanh(layer(hidden))
        parameters = torch.einsum("pcyx,bcyx->bpyx", self.readout(), hidden)
        return (parameters + self.biases(len(x), temperature)).flatten(2).mT

    def incremental(
        self, num: int, temperature: PerConfiguration | None = None
    ) -> Generator[Tensor, Tensor, None]:
        """The same site by site, at the cost of about one pass in all."""
        constant = self.biases(num, temperature).flatten(2).permute(2, 1, 0)
        readout = self.readout().flatten(2).permute(2, 0, 1)  # (sites, parameters, channels)
        first, *products = [RunningConv(layer, num) for layer in (self.first, *self.layers)]
        closing = RunningClosing(self.closing, num)
        for site in range(self.num_sites):
            hidden = self.activate(first.at(site) + closing.at(site))  # (channels, B)
            for product in products:
                product.push(site, hidden)
                hidden = hidden + torch.tanh(product.at(site))
            values = yield (constant[site] + readout[site] @ hidden).T.unsqueeze(1)
            x = self.features(values[:, 0], temperature).T
            first.push(site, x)
            closing.push(site, x)

    def activate(self, z: Tensor) -> Tensor:
        """The first layer's hidden units, in which what is linear in the sites stays linear."""
        return z + torch.tanh(z)


def reach(kernel: int, side: int) -> tuple[int, int]:
    """Sites before and after the middle of a kernel, each displacement on the ring counted once."""
    return min(kernel // 2, side // 2), min(kernel // 2, (side - 1) // 2)


class ByPlace(nn.Module):
    """What depends on the place of a site, as v + r + c: common, of its row and of its column.

    It takes (rows + columns) numbers where one a site takes rows × columns, with as many data to learn
    them from.

    Args:
        shape: Of the quantity of one site.
        plane: Rows and columns of the torus.
        scale: Standard deviation of the common part at first; the others start at zero.
    """

    def __init__(self, shape: tuple[int, ...], plane: tuple[int, int], scale: float = 0.0) -> None:
        super().__init__()
        rows, columns = plane
        self.common = nn.Parameter(scale * torch.randn(*shape, 1, 1))
        self.of_row = nn.Parameter(torch.zeros(*shape, rows, 1))
        self.of_column = nn.Parameter(torch.zeros(*shape, 1, columns))

    def forward(self) -> Tensor:
        """At all sites `(*shape, rows, columns)`."""
        return self.common + self.of_row + self.of_column


class CausalConv(nn.Module):
    """y_i = c_i + Σ_j W_{i−j} x_j over the sites j ≤ i of a torus, in raster order.

    Whole rows above are seen around the ring, the own row up to the own site; of what the kernel
    reaches below and to the right, that which lies across the boundary and hence comes first.

    Args:
        plane: Rows and columns of the torus.
        in_channels: Units of a site in x.
        out_channels: Units of a site in y.
        reach: Rows above and below and columns left and right of the middle of the kernel.
        strict: Whether j < i, else j ≤ i.
    """

    def __init__(
        self,
        plane: tuple[int, int],
        in_channels: int,
        out_channels: int,
        reach: tuple[int, int, int, int],
        *,
        strict: bool = False,
    ) -> None:
        super().__init__()
        self.plane = plane
        self.up, self.down, self.left, self.right = reach
        self.own = self.left if strict else self.left + 1
        size = (self.up + 1 + self.down, self.left + 1 + self.right)
        fan_in = in_channels * max(1, size[0] * size[1] // 2)
        self.weight = nn.Parameter(0.3 * torch.randn(out_channels, in_channels, *size) / fan_in**0.5)
        self.bias = ByPlace((out_channels,), plane)

    def kernels(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The weights of the sites above, below, in the own row, and in it across the boundary."""
        above, middle, below = self.weight.split([self.up, 1, self.down], dim=2)
        return above, below, middle[..., : self.own], middle[..., self.left + 1 :]

    def ring(self, x: Tensor) -> Tensor:
        """The columns `(..., columns)` with those that the kernel sees around the ring."""
        return torch.cat([x[..., self.plane[1] - self.left :], x, x[..., : self.right]], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """Of x `(B, in, rows, columns)`: `(B, out, rows, columns)`."""
        rows, columns = self.plane
        above, below, own, ahead = self.kernels()
        around = self.ring(x)
        y = self.bias().expand(len(x), -1, -1, -1)
        if self.own:
            before = x[..., : columns + self.own - self.left - 1]
            y = y + F.conv2d(F.pad(before, (self.left, 0)), own)
        if self.up:
            y = y + F.conv2d(F.pad(around[:, :, :-1], (0, 0, self.up, 0)), above)
        if self.down:
            top = F.pad(around[:, :, : self.down], (0, 0, self.down - 1, 0))
            y = y + F.pad(F.conv2d(top, below), (0, 0, rows - self.down, 0))
        if self.right:
            start = F.pad(x[..., : self.right], (self.right - 1, 0))
            y = y + F.pad(F.conv2d(start, ahead), (columns - self.right, 0))
        return y


class Closing(nn.Module):
    """y_rc = A_c x_r0 + D_r x_0c: what the first sites of its row and column give to a site.

    Args:
        plane: Rows and columns of the torus.
        in_channels: Units of a site in x.
        out_channels: Units of a site in y.
    """

    def __init__(self, plane: tuple[int, int], in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.plane = plane
        rows, columns = plane
        self.across = nn.Parameter(torch.zeros(columns - 1, out_channels, in_channels))
        self.down = nn.Parameter(torch.zeros(rows - 1, out_channels, in_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Of x `(B, in, rows, columns)`: `(B, out, rows, columns)`."""
        across = torch.einsum("coi,bir->borc", self.across, x[:, :, :, 0])
        down = torch.einsum("roi,bic->borc", self.down, x[:, :, 0])
        return F.pad(across, (1, 0)) + F.pad(down, (0, 0, 1, 0))


class RunningClosing:
    """The same while the sites of x arrive in order.

    Args:
        layer: The layer.
        num: Number of configurations B.
    """

    def __init__(self, layer: Closing, num: int) -> None:
        self.layer = layer
        columns = layer.plane[1]
        _, out_channels, in_channels = layer.across.shape
        self.top = layer.across.new_zeros(columns, in_channels, num)
        self.sums = layer.across.new_zeros(columns, out_channels, num)

    def push(self, site: int, values: Tensor) -> None:
        """Take the units of a site `(in, B)`."""
        row, column = divmod(site, self.layer.plane[1])
        if row == 0:
            self.top[column] = values
        if column == 0:
            self.sums[1:] += self.layer.across @ values

    def at(self, site: int) -> Tensor:
        """The units of a site `(out, B)`, all that it sees being pushed."""
        row, column = divmod(site, self.layer.plane[1])
        if column == 0 and row > 0:
            self.sums = self.layer.down[row - 1] @ self.top
        return self.sums[column]


class RunningConv:
    """The convolution while the sites of x arrive in order.

    What the other rows give is convolved for a whole row at once. Within the row the units lie as
    (column, unit, configuration), so that all that a site sees is one contiguous slice.

    Args:
        layer: The layer.
        num: Number of configurations B.
    """

    def __init__(self, layer: CausalConv, num: int) -> None:
        self.layer = layer
        rows, columns = layer.plane
        self.above, self.below, own, ahead = layer.kernels()
        self.own, self.ahead = (part.squeeze(2).mT.flatten(1) for part in (own, ahead))
        in_channels = layer.weight.shape[1]
        width = layer.left + columns + layer.right
        self.image = layer.weight.new_empty(num, in_channels, rows, width)
        self.row = layer.weight.new_empty(columns, in_channels, num)
        self.bias = layer.bias().unsqueeze(0)

    def push(self, site: int, values: Tensor) -> None:
        """Take the units of a site `(in, B)`."""
        row, column = divmod(site, self.layer.plane[1])
        self.row[column] = values
        if column == self.layer.plane[1] - 1:
            self.image[:, :, row] = self.layer.ring(self.row.permute(2, 1, 0))

    def at(self, site: int) -> Tensor:
        """The convolution's units of a site `(out, B)`, all that it sees being pushed."""
        row, column = divmod(site, self.layer.plane[1])
        if column == 0:
            self.sums = self.other_rows(row)
        total = self.sums[column]
        start, end = max(0, column - self.layer.left), column + self.layer.own - self.layer.left
        for weight, seen in (
            (self.own, self.row[start:end]),
            (self.ahead, self.row[: self.across(column, 1)]),
        ):
            if len(seen):
                units = seen.flatten(0, 1)
                total = torch.addmm(total, weight[:, -len(units) :], units)
        return total

    def across(self, place: int, axis: int) -> int:
        """How many rows (axis 0) or columns (axis 1) a kernel sees across the boundary."""
        reach = (self.layer.down, self.layer.right)[axis]
        return max(0, place + reach + 1 - self.layer.plane[axis])

    def other_rows(self, row: int) -> Tensor:
        """Bias and what the finished rows give to the sites of a row `(columns, out, B)`."""
        sums = self.bias[:, :, row : row + 1].expand(self.image.shape[0], -1, -1, -1)
        seen = self.image[:, :, max(0, row - self.layer.up) : row]
        wrapped = self.image[:, :, : self.across(row, 0)]
        for weight, image in ((self.above, seen), (self.below, wrapped)):
            if image.shape[2]:
                sums = sums + F.conv2d(image, weight[:, :, -image.shape[2] :])
        return sums.squeeze(2).permute(2, 1, 0).contiguous()
