"""What all local networks share: padding, conditioning on sigma, and the skip connection."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..fields.field import PADDINGS
from ..operators import Diagonal, PreInverse, Stationary
from ..operators.checks import check_finite, check_positive_integers, noise_levels

FREQUENCIES = 8
EMBEDDING = 32
"""A network is told log sigma as 8 sines and 8 cosines, which become 32 numbers."""


def noise_gain(preinverse: PreInverse) -> float:
    r"""The mean variance of a pixel of B e for white noise e: the mean of the diagonal of B B^T.

    Example:
        >>> from lemmse.operators import Mask
        >>> noise_gain(Mask.central(2, (4, 4)).preinverse("pinv", (1, 4, 4)))
        0.75
    """
    noise = preinverse.noise
    if isinstance(noise, Stationary):
        return noise.spectrum.mean().item()
    if isinstance(noise, Diagonal):
        return noise.gain.square().mean().item()
    return (noise.matrix.square().sum() / len(noise.matrix)).item()


class Skip(nn.Module):
    r"""The best affine guess of a pixel of x from the same pixel of z, and how far off it is.

    Over all training images, all pixels and the noise, with :math:`z = B y`,

    .. math:: \hat x = m_x + s (z - m_z), \qquad s = \frac{c}{v_z + g \sigma^2}, \qquad
        e = \frac{e_0 v_z + v_x g \sigma^2}{v_z + g \sigma^2}

    where m, v and c are the means, the variances and the covariance of the pixels of x and of the
    noise-free :math:`B A x`, :math:`e_0 = v_x - c^2 / v_z`, and g is the mean of the diagonal of
    :math:`B B^T`. A network adds its answer, times :math:`\sqrt e`, to this guess, and the training
    loss is divided by e: so what the network has to produce has unit size at every sigma. For
    denoising with :math:`m = 0` it is the preconditioning of Karras et al.

    Args:
        statistics: :math:`m_x, m_z, v_x, v_z, c, e_0, g`. The default suits denoising of images
            whose pixels have mean 0.5 and standard deviation 0.3.

    Source:
        Karras, Aittala, Aila, Laine, Elucidating the design space of diffusion-based generative
        models, NeurIPS 2022, table 1.

    Example:
        >>> skip = Skip((0.5, 0.5, 0.04, 0.04, 0.04, 0.0, 1.0))
        >>> skip(torch.tensor([1.0]), torch.tensor([0.2])), skip.error(torch.tensor([0.2]))
        (tensor([0.7500]), tensor([0.0200]))
    """

    statistics: Tensor

    def __init__(self, statistics: Sequence[float] = (0.5, 0.5, 0.09, 0.09, 0.09, 0.0, 1.0)):
        super().__init__()
        self.register_buffer("statistics", torch.tensor(statistics))

    @classmethod
    def fit(cls, images: Tensor, clean: Tensor, preinverse: PreInverse) -> Skip:
        """Measures the statistics.

        Args:
            images: the training images x, (N, C, H, W).
            clean: B A x, of the same shape.
            preinverse: B.

        Example:
            >>> from lemmse.operators import Identity
            >>> x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
            >>> skip = Skip.fit(x, x, Identity().preinverse(None, (1, 8, 8)))
            >>> bool(torch.isclose(skip.statistics[2], x.var(correction=0)))
            True
        """
        x, z = images.double().flatten(), clean.double().flatten()
        floor = 1e-6  # a constant training set has no variance; the guess is then its mean
        v_x, v_z = (t.var(correction=0).clamp_min(floor) for t in (x, z))
        c = ((x - x.mean()) * (z - z.mean())).mean()
        e_0 = (v_x - c.square() / v_z).clamp_min(0)
        gain = noise_gain(preinverse)
        return cls([float(number) for number in (x.mean(), z.mean(), v_x, v_z, c, e_0, gain)])

    def blind(self) -> Skip:
        """The best guess without z, the mean: for networks that must not see the pixel itself.

        Example:
            >>> Skip().blind()(torch.tensor([9.0]), torch.tensor([0.2]))
            tensor([0.5000])
        """
        m_x, m_z, v_x, v_z, _, _, gain = self.statistics.tolist()
        return Skip((m_x, m_z, v_x, v_z, 0.0, v_x, gain))

    @property
    def denoises(self) -> bool:
        """Whether z is an image with white noise, by statistics that say A and B are the identity.

        Example:
            >>> Skip().denoises
            True
        """
        m_x, m_z, v_x, v_z, _, _, gain = self.statistics.tolist()
        pairs = ((m_x, m_z), (v_x, v_z), (gain, 1.0))
        return all(math.isclose(a, b, rel_tol=1e-5) for a, b in pairs)

    def variance(self, sigma: Tensor) -> Tensor:
        """The variance of a pixel of z, of the shape of sigma."""
        v_z, gain = self.statistics[3], self.statistics[6]
        return v_z + gain * sigma.square()

    def error(self, sigma: Tensor) -> Tensor:
        """The mean squared error e of the guess, of the shape of sigma."""
        _, _, v_x, v_z, _, e_0, gain = self.statistics
        return (e_0 * v_z + v_x * gain * sigma.square()) / self.variance(sigma)

    def standardised(self, z: Tensor, sigma: Tensor) -> Tensor:
        """The pixels z, with mean 0 and variance 1."""
        return (z - self.statistics[1]) * self.variance(sigma).rsqrt()

    def forward(self, z: Tensor, sigma: Tensor) -> Tensor:
        """The guess."""
        m_x, m_z, _, _, c, _, _ = self.statistics
        return m_x + c / self.variance(sigma) * (z - m_z)


class NoiseEmbedding(nn.Module):
    """Turns sigma, (B,), into features (B, 32): sines and cosines of log sigma, and two layers.

    Example:
        >>> NoiseEmbedding()(torch.tensor([0.1, 1.0])).shape
        torch.Size([2, 32])
    """

    frequencies: Tensor

    def __init__(self):
        super().__init__()
        # Wavelengths from 25 to 2 in log sigma, which runs over about 5 from 0.005 to 1.
        frequencies = 0.25 * 2 ** (torch.arange(FREQUENCIES) / 2)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING)
        )

    def forward(self, sigma: Tensor) -> Tensor:
        """The features of the noise levels sigma, (B,)."""
        angles = sigma.log()[:, None] * self.frequencies
        return functional.silu(self.layers(torch.cat([angles.sin(), angles.cos()], dim=1)))


class Pointwise(nn.Conv2d):
    """A 1 x 1 convolution, computed as one matrix product over all pixels.

    With the channels of a pixel side by side in memory, which its result keeps, this takes a
    quarter of a convolution's time on a processor. Weights and numbers are those of ``nn.Conv2d``.

    Args:
        before, after: channels.

    Example:
        >>> Pointwise(8, 4)(torch.rand(2, 8, 5, 5)).shape
        torch.Size([2, 4, 5, 5])
    """

    def __init__(self, before: int, after: int):
        super().__init__(before, after, 1)

    def forward(self, h: Tensor) -> Tensor:
        """(B, before, h, w) to (B, after, h, w)."""
        pixels = h.movedim(1, -1)
        # A matrix, not a tensor of four axes: torch adds the bias to that in two ways, by mode.
        rows = functional.linear(pixels.flatten(0, 2), self.weight[:, :, 0, 0], self.bias)
        return rows.unflatten(0, pixels.shape[:3]).movedim(-1, 1)


def convolution(
    before: int, after: int, kernel_size: int, padding: str = "circular", dilation: int = 1
) -> nn.Conv2d:
    """A convolution of a `LocalNetwork`, which keeps the size unless the padding is circular.

    An image is padded circularly once, before the first layer: the layers take from each side what
    they need. With another padding each layer pads by itself.

    Example:
        >>> h = torch.rand(1, 2, 8, 8)
        >>> convolution(2, 4, 3)(h).shape, convolution(2, 4, 3, "zeros")(h).shape
        (torch.Size([1, 4, 6, 6]), torch.Size([1, 4, 8, 8]))
    """
    options = {"dilation": dilation}
    if padding != "circular":
        options |= {"padding": dilation * (kernel_size // 2), "padding_mode": padding}
    return nn.Conv2d(before, after, kernel_size, **options)


class ResidualBlock(nn.Module):
    r"""One residual step on every pixel: :math:`h + W_2 \,\mathrm{silu}(W_1 (a \cdot |h| + b))`.

    :math:`|h|` is h divided by its root mean square over the channels *of the same pixel*: a
    normalisation over pixels would let every pixel see the whole image. The scale a and the offset
    b of each channel depend on sigma.

    Args:
        width: channels of h.
        hidden: channels between the two layers.
        kernel_size: of :math:`W_1`; 3 makes the receptive field grow by one pixel on each side,
            and the output, computed without padding, smaller by as much.
        padding, dilation: of :math:`W_1`, see `convolution`.
        normalised: False takes h for :math:`|h|`. Where :math:`W_1` looks at neighbours, what they
            say is then still linear in them: :math:`|h|` keeps the direction of a pixel's features,
            and of their size nothing.

    Example:
        >>> block = ResidualBlock(8, 16, kernel_size=3)
        >>> block(torch.rand(2, 8, 5, 5), torch.rand(2, 32)).shape
        torch.Size([2, 8, 3, 3])
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        kernel_size: int = 1,
        padding: str = "circular",
        dilation: int = 1,
        normalised: bool = True,
    ):
        super().__init__()
        self.normalised = normalised
        self.margin = dilation * (kernel_size // 2) if padding == "circular" else 0
        self.modulation = nn.Linear(EMBEDDING, 2 * width)
        if kernel_size == 1:
            self.first = Pointwise(width, hidden)
        else:
            self.first = convolution(width, hidden, kernel_size, padding, dilation)
        self.second = Pointwise(hidden, width)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """The next h, given the features of sigma, (B, 32)."""
        scale, offset = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        normal = h
        if self.normalised:
            normal = h * (h.square().mean(1, keepdim=True) + 1e-6).rsqrt()
        step = functional.silu(self.first(normal * (1 + scale) + offset))
        return cropped(h, self.margin) + self.second(step)


class LocalNetwork(nn.Module):
    r"""A network whose output pixel n is one and the same function of the P x P patch at n.

    .. math:: \phi(z, \sigma)[n] = f(\Pi_n z, \sigma)

    The image is padded circularly once, by (P - 1)/2 on each side, and all layers are then computed
    without padding. That equals circular padding in every layer, and makes `valid` available: the
    same function on a crop, which is what training uses. With another padding every layer pads by
    itself, as most networks do; with a stride s the function depends on n modulo s. The fields of
    such networks have formulas, too: see `field_of`.

    Subclasses define ``body(z, embedding)``: standardised crops (B, inputs, h + 2 margin, w + 2
    margin) and the features of sigma (B, 32) to (B, C, h, w).

    Args:
        channels: C, 1 for grey and 3 for colour.
        patch_size: P, odd.
        skip: the affine guess that the network corrects; see `Skip`.
        marks_zeros: also show the network where z is exactly zero, as C more channels of zeros and
            ones. In inpainting with z = M y, these are the hidden pixels; the formula knows them,
            for a noisy pixel is never exactly zero, but a continuous function of z cannot.
        padding: "circular", or "zeros", "reflect", "replicate" in every layer.
        stride: s, of which height and width of the images have to be multiples. Each of the s x s
            phases sees P - s + 1 pixels a side. Above 1 the padding is circular or zeros: cells of
            s pixels that are reflected are no reflected pixels.
        largest_sigma: the noise level up to which the network is trained; it refuses larger ones.

    Attributes:
        channels, patch_size, marks_zeros, padding, stride, largest_sigma: as given.
        inputs: channels that ``body`` gets, C or 2 C.
        margin: pixels on each side that ``body`` uses up.

    Raises:
        ValueError: if a number is not positive, P is even, or the padding is none of these.
    """

    def __init__(
        self,
        channels: int,
        patch_size: int,
        skip: Skip | None = None,
        marks_zeros: bool = False,
        padding: str = "circular",
        stride: int = 1,
        largest_sigma: float = 1.0,
    ):
        super().__init__()
        check_positive_integers(channels=channels, patch_size=patch_size, stride=stride)
        if patch_size % 2 == 0:
            raise ValueError(f"expected patch_size to be odd, got {patch_size}")
        if not 0 < largest_sigma < math.inf:
            raise ValueError(f"largest_sigma: expected a positive number, got {largest_sigma}")
        known = PADDINGS if stride == 1 else ("circular", "zeros")
        if padding not in known:
            raise ValueError(
                f"padding: expected one of {known} for stride {stride}, got {padding!r}"
            )
        self.channels = channels
        self.patch_size = patch_size
        self.marks_zeros = marks_zeros
        self.padding = padding
        self.stride = stride
        self.largest_sigma = float(largest_sigma)
        self.margin = patch_size // 2 - (stride - 1) if padding == "circular" else 0
        self.inputs = 2 * channels if marks_zeros else channels
        self.skip = Skip() if skip is None else skip
        self.embedding = NoiseEmbedding()

    def body(self, z: Tensor, embedding: Tensor) -> Tensor:
        """What a subclass defines."""
        raise NotImplementedError(f"{type(self).__name__} does not define body")

    def forward(self, z: Tensor, sigma: float | Tensor) -> Tensor:
        """Estimates images.

        Args:
            z: (B, C, H, W), what the pre-inverse makes of the measurement: z = B y; of any
                floating-point type.
            sigma: standard deviation of the noise in y, in (0, ``largest_sigma``]: a number or a
                (B,) tensor.

        Returns:
            (B, C, H, W), of the type of z; computed in that of the weights.

        Raises:
            ValueError: if z is no finite batch of images of C channels, at least P x P, of sides
                that are multiples of the stride, or sigma does not fit.
        """
        return self._estimate(z, sigma, self.margin, self.patch_size)

    def valid(self, z: Tensor, sigma: float | Tensor) -> Tensor:
        """Estimates the inner part of crops, the pixels whose whole patch is there.

        Args:
            z: crops of B y, (B, C, h + 2 margin, w + 2 margin): P - 1 pixels more than the result
                has. Where there is a stride, the phase of their first pixel is 0.
            sigma: see `forward`.

        Returns:
            (B, C, h, w).

        Raises:
            ValueError: see `forward`; or if the padding is not circular. Then the layers take the
                border of a crop for that of the image.
        """
        if self.padding != "circular":
            raise ValueError(
                f"valid: expected a network with circular padding, got one with {self.padding!r}, "
                "for which the border of a crop is the border of the image"
            )
        return self._estimate(z, sigma, 0, 2 * self.margin + self.stride)

    def _estimate(self, z: Tensor, sigma: float | Tensor, margin: int, least: int) -> Tensor:
        """Checks a call, pads z, and computes in the precision of the weights."""
        self._check(z, least)
        sigma = self._noise_level(sigma, z)
        padded = functional.pad(z.to(sigma.dtype), (margin,) * 4, mode="circular")
        return self._valid(padded, sigma).to(z.dtype)

    def _valid(self, z: Tensor, sigma: Tensor) -> Tensor:
        level = sigma[:, None, None, None]
        seen = self.skip.standardised(z, level)
        if self.marks_zeros:
            seen = torch.cat([seen, (z == 0).to(z.dtype)], dim=1)
        correction = self.body(seen, self.embedding(sigma))
        guess = self.skip(cropped(z, self.margin), level)
        return guess + self.skip.error(level).sqrt() * correction

    def _check(self, z: Tensor, least: int) -> None:
        if not isinstance(z, Tensor) or z.ndim != 4 or z.shape[1] != self.channels:
            got = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
            raise ValueError(f"z: expected shape (B, {self.channels}, H, W), got {got}")
        if not z.is_floating_point():
            raise ValueError(f"z: expected real floating-point images, got {z.dtype}")
        if min(z.shape[2:]) < least:
            size = tuple(z.shape[2:])
            raise ValueError(f"z: expected at least {least} x {least} pixels, got {size}")
        if z.shape[2] % self.stride or z.shape[3] % self.stride:
            size, s = tuple(z.shape[2:]), self.stride
            raise ValueError(f"z: expected sides that are multiples of the stride {s}, got {size}")
        check_finite(z, "z")

    def _noise_level(self, sigma: float | Tensor, z: Tensor) -> Tensor:
        level = noise_levels(sigma, len(z), self.skip.statistics.dtype, z.device)
        if (level > self.largest_sigma).any():
            raise ValueError(f"sigma: expected values in (0, {self.largest_sigma}], got {sigma}")
        return level


def cropped(h: Tensor, margin: int) -> Tensor:
    """Without so many pixels on each side.

    Example:
        >>> cropped(torch.zeros(1, 1, 5, 5), 2).shape
        torch.Size([1, 1, 1, 1])
    """
    return h[..., margin : h.shape[-2] - margin, margin : h.shape[-1] - margin]
