"""Exercises of chapter 17: accelerated MRI."""

import math

import torch

from lemmse.exercises.registry import AGREES, Property, close, exercise


def _waves(height, width):
    """The unitary Fourier transform of images with `height * width` pixels as a matrix."""
    row, column = (
        torch.exp(-2j * math.pi * torch.outer(torch.arange(n), torch.arange(n)).double() / n)
        / math.sqrt(n)
        for n in (height, width)
    )
    return torch.kron(row, column)


def _forward(mask):
    """Undersampled MRI as a real matrix: real parts of the measurement, then imaginary parts."""
    sampled = mask.flatten()[:, None] * _waves(*mask.shape)
    return torch.cat([sampled.real, sampled.imag])


def _psf(mask):
    matrix = _forward(mask)
    return (matrix.T @ matrix)[:, 0].reshape(mask.shape)


def _psf_unitary(mask):
    return _psf(mask) * math.sqrt(mask.numel())


def _psf_magnitude(mask):
    return torch.fft.ifft2(mask).abs()


def _psf_flip_only(mask):
    """Takes the flipped mask for m[-k], which it is not: flip moves the zero frequency."""
    return torch.fft.ifft2((mask + mask.flip(0, 1)) / 2).real


def _psf_centred(mask):
    return torch.fft.fftshift(_psf(mask))


_PEAK = "has the share of sampled frequencies at the origin"
_MIRROR = "gives the same for the mirrored mask m[-k]"


def _mirrored(image):
    return image.flip(0, 1).roll((1, 1), (0, 1))


@exercise(
    "17.1",
    "the point-spread function of a sampling pattern",
    reference=_psf,
    hint="h is the inverse FFT, with its factor 1 / (H W), of s[k] = (m[k] + m[-k]) / 2; "
    "the entry of m[-k] at k = 0 is m[0]",
    properties=[
        Property(
            _PEAK,
            lambda case: close(torch.as_tensor(case.result)[0, 0], case["mask"].mean()),
            "h[0] is the mean of s: the origin comes first, as in torch.fft.fft2, and the inverse "
            "FFT has its factor 1 / (H W)",
        ),
        Property(
            _MIRROR,
            lambda case: close(case.call(mask=_mirrored(case["mask"])), case.result),
            "m[k] and m[-k] enter alike; m[-k] is m flipped and then rolled by one, because the "
            "zero frequency stays where it is",
        ),
    ],
    wrong=[
        (_psf_unitary, _PEAK),
        (_psf_centred, _PEAK),
        (_psf_flip_only, _MIRROR),
        (_psf_magnitude, AGREES),
    ],
    tolerance=1e-8,
)
def _(generator):
    mask = (torch.rand(4, 6, generator=generator) < 0.4).double()
    # One frequency whose mirror image is not sampled: the pattern is not even.
    mask[1, 2], mask[3, 4] = 1, 0
    return {"mask": mask}


def _consistent(estimate, y, mask, strength):
    matrix = _forward(mask)
    data = torch.cat([y.flatten().real, y.flatten().imag])
    left = matrix.T @ matrix + strength * torch.eye(mask.numel(), dtype=torch.float64)
    right = matrix.T @ data + strength * estimate.flatten()
    return torch.linalg.solve(left, right).reshape(mask.shape)


def _consistent_complex_images(estimate, y, mask, strength):
    """Minimises over complex images, where s would be m, and takes the real part at the end."""
    spectrum = torch.fft.fft2(estimate, norm="ortho")
    mixed = (mask * y + strength * spectrum) / (mask + strength)
    return torch.fft.ifft2(mixed, norm="ortho").real


def _consistent_replaced(estimate, y, mask, strength):
    """Puts the measured entries in the place of the estimated ones, whatever their noise."""
    spectrum = torch.fft.fft2(estimate, norm="ortho")
    return torch.fft.ifft2(mask * y + (1 - mask) * spectrum, norm="ortho").real


def _consistent_upside_down(estimate, y, mask, strength):
    return _consistent(estimate, y, mask, 1 / strength)


def _consistent_without_scale(estimate, y, mask, strength):
    """Uses the transform without its unitary normalisation."""
    scale = math.sqrt(mask.numel())
    return _consistent(estimate, y / scale, mask, strength)


_FIXED = "leaves an estimate alone that agrees with the data"
_TRUSTS = "returns the estimate when the strength is very large"


def _of_estimate(case):
    return case["mask"] * torch.fft.fft2(case["estimate"], norm="ortho")


@exercise(
    "17.2",
    "consistency with the measured data",
    reference=_consistent,
    hint="x = estimate + (A^T A + lambda)^{-1} A^T (y - A estimate); A^T A multiplies the "
    "coefficient k by s[k] = (m[k] + m[-k]) / 2, and A^T y is the zero-filled image",
    properties=[
        Property(
            _FIXED,
            lambda case: close(case.call(y=_of_estimate(case)), case["estimate"]),
            "if y = A estimate, both terms are zero there; the transform is the unitary one "
            '(norm="ortho")',
        ),
        Property(
            _TRUSTS,
            lambda case: close(case.call(strength=1e12), case["estimate"]),
            "lambda weighs the distance to the estimate",
        ),
    ],
    wrong=[
        (_consistent_without_scale, _FIXED),
        (_consistent_upside_down, _TRUSTS),
        (_consistent_replaced, _TRUSTS),
        (_consistent_complex_images, AGREES),
    ],
    tolerance=1e-6,
)
def _(generator):
    mask = (torch.rand(4, 4, generator=generator) < 0.4).double()
    mask[1, 2], mask[3, 2] = 1, 0
    noise = torch.randn(2, 4, 4, generator=generator, dtype=torch.float64)
    return {
        "estimate": torch.rand(4, 4, generator=generator, dtype=torch.float64),
        "y": mask * torch.complex(noise[0], noise[1]),
        "mask": mask,
        "strength": 0.5,
    }
