"""Causal convolutions on a torus, at once or while the sites arrive in order."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def reach(kernel: int, side: int) -> tuple[int, int]:
    """Return how far a kernel extends before and after its middle, at most once around the ring."""
    return min(kernel // 2, side // 2), min(kernel // 2, (side - 1) // 2)


class ByPlace(nn.Module):
    """Weights that depend on the place of a site: the sum of a common, a row's and a column's part.

    They are rows + columns numbers instead of rows × columns, and so take fewer data to learn.

    Args:
        shape: Shape of the weights of one site.
        plane: Numbers of rows and columns of the torus.
        scale: Standard deviation of the initial common part; the other parts start at zero.
    """

    def __init__(self, shape: tuple[int, ...], plane: tuple[int, int], scale: float = 0.0) -> None:
        super().__init__()
        rows, columns = plane
        self.common = nn.Parameter(scale * torch.randn(*shape, 1, 1))
        self.of_row = nn.Parameter(torch.zeros(*shape, rows, 1))
        self.of_column = nn.Parameter(torch.zeros(*shape, 1, columns))

    def forward(self) -> Tensor:
        """Return the weights of all sites `(*shape, rows, columns)`."""
        return self.common + self.of_row + self.of_column


class CausalConv(nn.Module):
    """Convolution on a torus over the sites j ≤ i in raster order.

        y_i = c_i + Σ_{j≤i} W_{i−j} x_j

    The kernel sees rows above as whole rings, and the row of site i up to site i. Below and to the right
    it sees only sites across the boundary, which come first in the order.

    Args:
        plane: Numbers of rows and columns of the torus.
        in_channels: Number of units per site in x.
        out_channels: Number of units per site in y.
        reach: Numbers of rows above and below, and of columns left and right, of the kernel's middle.
        strict: Whether the sum is over j < i.
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
        self.before = self.left if strict else self.left + 1
        size = (self.up + 1 + self.down, self.left + 1 + self.right)
        fan_in = in_channels * max(1, size[0] * size[1] // 2)
        self.weight = nn.Parameter(0.3 * torch.randn(out_channels, in_channels, *size) / fan_in**0.5)
        self.bias = ByPlace((out_channels,), plane)

    def kernels(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the weights of the sites above, below, before and, across the boundary, ahead."""
        above, middle, below = self.weight.split([self.up, 1, self.down], dim=2)
        return above, below, middle[..., : self.before], middle[..., self.left + 1 :]

    def ring(self, x: Tensor) -> Tensor:
        """Extend the columns `(..., columns)` by those that the kernel sees around the ring."""
        return torch.cat([x[..., self.plane[1] - self.left :], x, x[..., : self.right]], dim=-1)

    def taps(self, site: int) -> tuple[list[int], Tensor]:
        """Return the sites j ≤ i that a site i sees, and their weights `(taps, out, in)`."""
        rows, columns = self.plane
        row, column = divmod(site, columns)
        seen, weights = [], [self.weight.new_zeros(0, *self.weight.shape[:2])]
        for down in range(-min(self.up, row), self.down + 1):
            for right in range(-self.left, self.right + 1):
                over = row + down >= rows or (down == 0 and column + right >= columns)
                before = down < 0 or (down == 0 and -column <= right < self.before - self.left)
                if over or before:
                    seen.append((row + down) % rows * columns + (column + right) % columns)
                    weights.append(self.weight[None, :, :, self.up + down, self.left + right])
        return seen, torch.cat(weights)

    def forward(self, x: Tensor) -> Tensor:
        """Return y `(B, out, rows, columns)` of x `(B, in, rows, columns)`."""
        rows, columns = self.plane
        above, below, before, ahead = self.kernels()
        around = self.ring(x)
        y = self.bias().expand(len(x), -1, -1, -1)
        if self.before:
            row = x[..., : columns + self.before - self.left - 1]
            y = y + F.conv2d(F.pad(row, (self.left, 0)), before)
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
    """Linear map from the first sites of the row and the column of each site.

        y_rc = A_c x_r0 + D_r x_0c

    Args:
        plane: Numbers of rows and columns of the torus.
        in_channels: Number of units per site in x.
        out_channels: Number of units per site in y.
    """

    def __init__(self, plane: tuple[int, int], in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.plane = plane
        rows, columns = plane
        self.across = nn.Parameter(torch.zeros(columns - 1, out_channels, in_channels))
        self.down = nn.Parameter(torch.zeros(rows - 1, out_channels, in_channels))

    def taps(self, site: int) -> tuple[list[int], Tensor]:
        """Return the sites that a site sees, and their weights `(taps, out, in)`."""
        row, column = divmod(site, self.plane[1])
        seen, weights = [], [self.down.new_zeros(0, *self.down.shape[1:])]
        if column:
            seen.append(row * self.plane[1])
            weights.append(self.across[column - 1 : column])
        if row:
            seen.append(column)
            weights.append(self.down[row - 1 : row])
        return seen, torch.cat(weights)

    def forward(self, x: Tensor) -> Tensor:
        """Return y `(B, out, rows, columns)` of x `(B, in, rows, columns)`."""
        across = torch.einsum("coi,bir->borc", self.across, x[:, :, :, 0])
        down = torch.einsum("roi,bic->borc", self.down, x[:, :, 0])
        return F.pad(across, (1, 0)) + F.pad(down, (0, 0, 1, 0))


class RunningClosing:
    """`Closing` while the sites of x arrive in order.

    Args:
        layer: Layer with the weights.
        num: Number of configurations B.
    """

    def __init__(self, layer: Closing, num: int) -> None:
        self.layer = layer
        columns = layer.plane[1]
        _, out_channels, in_channels = layer.across.shape
        self.top = layer.across.new_zeros(columns, in_channels, num)
        self.sums = layer.across.new_zeros(columns, out_channels, num)

    def push(self, site: int, values: Tensor) -> None:
        """Add the units of a site of x `(in, B)`."""
        row, column = divmod(site, self.layer.plane[1])
        if row == 0:
            self.top[column] = values
        if column == 0:
            self.sums[1:] += self.layer.across @ values

    def at(self, site: int) -> Tensor:
        """Return the units of a site of y `(out, B)`; all sites that it sees must have been pushed."""
        row, column = divmod(site, self.layer.plane[1])
        if column == 0 and row > 0:
            self.sums = self.layer.down[row - 1] @ self.top
        return self.sums[column]


class RunningConv:
    """`CausalConv` while the sites of x arrive in order.

    Other rows are convolved for a whole row at once. The units of the present row are stored as
    `(columns, in, B)`, so that the sites that a site sees are one contiguous slice.

    Args:
        layer: Layer with the weights.
        num: Number of configurations B.
    """

    def __init__(self, layer: CausalConv, num: int) -> None:
        self.layer = layer
        rows, columns = layer.plane
        self.above, self.below, before, ahead = layer.kernels()
        self.before, self.ahead = (part.squeeze(2).mT.flatten(1) for part in (before, ahead))
        in_channels = layer.weight.shape[1]
        width = layer.left + columns + layer.right
        self.image = layer.weight.new_empty(num, in_channels, rows, width)
        self.row = layer.weight.new_empty(columns, in_channels, num)
        self.bias = layer.bias().unsqueeze(0)

    def push(self, site: int, values: Tensor) -> None:
        """Add the units of a site of x `(in, B)`."""
        row, column = divmod(site, self.layer.plane[1])
        self.row[column] = values
        if column == self.layer.plane[1] - 1:
            self.image[:, :, row] = self.layer.ring(self.row.permute(2, 1, 0))

    def at(self, site: int) -> Tensor:
        """Return the units of a site of y `(out, B)`; all sites that it sees must have been pushed."""
        row, column = divmod(site, self.layer.plane[1])
        if column == 0:
            self.sums = self.other_rows(row)
        total = self.sums[column]
        start, end = max(0, column - self.layer.left), column + self.layer.before - self.layer.left
        for weight, sites in (
            (self.before, self.row[start:end]),
            (self.ahead, self.row[: self.across(column, 1)]),
        ):
            if len(sites):
                units = sites.flatten(0, 1)
                total = torch.addmm(total, weight[:, -len(units) :], units)
        return total

    def across(self, place: int, axis: int) -> int:
        """Return how many rows (axis 0) or columns (axis 1) the kernel sees across the boundary."""
        reach = (self.layer.down, self.layer.right)[axis]
        return max(0, place + reach + 1 - self.layer.plane[axis])

    def other_rows(self, row: int) -> Tensor:
        """Return the bias and the sums over the finished rows, for one row `(columns, out, B)`."""
        sums = self.bias[:, :, row : row + 1].expand(self.image.shape[0], -1, -1, -1)
        rows_above = self.image[:, :, max(0, row - self.layer.up) : row]
        rows_below = self.image[:, :, : self.across(row, 0)]
        for weight, image in ((self.above, rows_above), (self.below, rows_below)):
            if image.shape[2]:
                sums = sums + F.conv2d(image, weight[:, :, -image.shape[2] :])
        return sums.squeeze(2).permute(2, 1, 0).contiguous()


def dense(
    layers: Sequence[CausalConv | Closing], outputs: Sequence[int], inputs: Sequence[int]
) -> Tensor:
    """Return the sum of layers as a matrix `(out × outputs, in × inputs)`, without the bias.

    Args:
        layers: Layers of equal sizes.
        outputs: Sites of y.
        inputs: Sites of x; all that the outputs see are among them.
    """
    places = {site: k for k, site in enumerate(inputs)}
    columns: list[Tensor] = []
    for site in outputs:
        parts = [layer.taps(site) for layer in layers]
        weights = torch.cat([part[1] for part in parts])
        index = torch.tensor([places[j] for part in parts for j in part[0]], dtype=torch.long)
        column = weights.new_zeros(len(inputs), *weights.shape[1:])
        columns.append(column.index_add(0, index.to(weights.device), weights))
    return torch.stack(columns).permute(0, 2, 1, 3).flatten(2).flatten(0, 1)
