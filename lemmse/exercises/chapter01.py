"""Exercises of chapter 1: forward operators."""

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise

SHAPE = (3, 5)


def _pixels() -> list[tuple[int, int]]:
    return [(i, j) for i in range(SHAPE[0]) for j in range(SHAPE[1])]


def _blur(x, h):
    """The circular convolution as a sum over the pixels of the kernel."""
    return sum(h[p] * x.roll(p, (0, 1)) for p in _pixels())


def _blur_adjoint(y, h):
    return sum(h[i, j] * y.roll((-i, -j), (0, 1)) for i, j in _pixels())


def _masked_blur_adjoint(y, mask, h):
    return _blur_adjoint(mask * y, h)


def _probe() -> torch.Tensor:
    """An image without symmetry, to test adjoints with."""
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _double(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _filtered(y, gain):
    return torch.fft.ifft2(gain * torch.fft.fft2(y)).real


def _transfer(h):
    return torch.fft.fft2(h)


ADJOINT = "satisfies <A x, y> = <x, result> for other images x too"
ADJOINT_HINT = (
    "A^T y[n] = sum_p h[p] y[n + p]: in the Fourier domain the transfer function is conjugated"
)
SUM = "returns an image with the sum of h times the sum of y"
HIDDEN = "ignores what y holds at the hidden pixels"
UNSEEN = "returns a lost part of which the scan sees nothing"


@exercise(
    "1.1",
    "the adjoint of a blur",
    reference=_blur_adjoint,
    hint=ADJOINT_HINT,
    properties=[
        Property(
            SUM,
            lambda case: close(case.result.sum(), case["h"].sum() * case["y"].sum()),
            "b[0] is the sum of h: the adjoint multiplies, not divides; fft2(h) needs no norm",
        ),
        Property(
            ADJOINT,
            lambda case: close(
                (_blur(_probe(), case["h"]) * case["y"]).sum(), (_probe() * case.result).sum()
            ),
            ADJOINT_HINT,
        ),
    ],
    wrong=[
        (lambda y, h: _filtered(y, _transfer(h)), ADJOINT),
        (lambda y, h: _filtered(y, 1 / _transfer(h)), SUM),
        (lambda y, h: _filtered(y, torch.fft.fft2(h, norm="ortho").conj()), SUM),
        (lambda y, h: torch.fft.ifft2(_transfer(h).conj() * torch.fft.fft2(y)), KIND),
        (lambda y, h: _filtered(y, _transfer(h.flip(0, 1))), ADJOINT),
    ],
    tolerance=1e-4,
)
def _(generator):
    return {"y": _double(SHAPE, generator), "h": _double(SHAPE, generator)}


@exercise(
    "1.2",
    "the adjoint of a blur followed by a mask",
    reference=_masked_blur_adjoint,
    hint=f"the mask comes first, then the adjoint of the blur; {ADJOINT_HINT}",
    properties=[
        Property(
            HIDDEN,
            lambda case: close(case.call(y=case["y"] + 1 - case["mask"]), case.result),
            "(M C)^T = C^T M^T: multiply y by the mask before anything else",
        ),
        Property(
            ADJOINT,
            lambda case: close(
                (case["mask"] * _blur(_probe(), case["h"]) * case["y"]).sum(),
                (_probe() * case.result).sum(),
            ),
            "(M C)^T = C^T M^T with C^T the adjoint of the blur, from the exercise before",
        ),
    ],
    wrong=[
        (lambda y, mask, h: mask * _blur_adjoint(y, h), HIDDEN),
        (lambda y, mask, h: _blur_adjoint(y, h), HIDDEN),
        (lambda y, mask, h: _blur(mask * y, h), ADJOINT),
        (lambda y, mask, h: mask * _blur_adjoint(mask * y, h), ADJOINT),
    ],
    tolerance=1e-4,
)
def _(generator):
    mask = (_double(SHAPE, generator) > 0.4).double()
    mask[0, 0], mask[1, 1] = 0, 1
    return {"y": _double(SHAPE, generator), "mask": mask, "h": _double(SHAPE, generator)}


def _mri_matrix(mask):
    """The real matrix of x -> mask * F x: real parts first."""
    waves = torch.eye(mask.numel(), dtype=torch.float64).reshape(-1, *mask.shape)
    rows = (mask * torch.fft.fft2(waves, norm="ortho")).flatten(1)
    return torch.cat([rows.real, rows.imag], 1).T


def _mri_lost(x, mask):
    matrix = _mri_matrix(mask)
    rank = int(torch.linalg.matrix_rank(matrix, tol=1e-8))
    kept = torch.linalg.pinv(matrix, rtol=1e-8) @ (matrix @ x.flatten())
    return rank, x - kept.reshape(x.shape)


def _known(mask):
    return (mask + mask.flip(0, 1).roll((1, 1), (0, 1))) > 0


def _through(x, gain):
    return torch.fft.ifft2(gain * torch.fft.fft2(x)).real


@exercise(
    "1.3",
    "what an MRI scan loses",
    reference=_mri_lost,
    hint="a real image has (F x)[-k] = conj((F x)[k]): a frequency is known if k or -k is sampled",
    properties=[
        Property(
            UNSEEN,
            lambda case: close(
                case["mask"] * torch.fft.fft2(torch.as_tensor(case.result[1])),
                torch.zeros(SHAPE, dtype=torch.complex128),
            ),
            "remove every frequency that is sampled, and its mirror image -k, entirely: "
            "x - A^T A x leaves half of those whose mirror image is not sampled",
        ),
    ],
    wrong=[
        (lambda x, mask: (int(mask.sum()), _mri_lost(x, mask)[1]), AGREES),
        (lambda x, mask: (2 * int(mask.sum()), _mri_lost(x, mask)[1]), AGREES),
        (lambda x, mask: (int(_known(mask).sum()), _through(x, 1 - mask)), UNSEEN),
        (lambda x, mask: (int(_known(mask).sum()), _through(x, _known(mask))), UNSEEN),
        (lambda x, mask: (int(_known(mask).sum()), 0 * x), AGREES),
        (lambda x, mask: (int(_known(mask).sum()), _through(x, ~_known(mask)).flatten()), KIND),
    ],
    tolerance=1e-4,
)
def _(generator):
    mask = (_double(SHAPE, generator) > 0.6).double()
    mask[0, 0], mask[1, 2], mask[-1, -2] = 1, 1, 0
    mask[2, 1] = mask[-2, -1] = 0
    return {"x": _double(SHAPE, generator), "mask": mask}
