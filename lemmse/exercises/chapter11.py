"""Exercises of chapter 11: networks with an exact receptive field."""

import torch
from torch.nn import functional

from lemmse.exercises.registry import AGREES, Property, close, exercise


def _side(layers):
    # Backwards: a window of so many features is a window of more features one layer earlier.
    side = 1
    for kernel, dilation, stride in reversed(layers):
        side = (side - 1) * stride + dilation * (kernel - 1) + 1
    return side


def _own_stride_first(layers):
    side, apart = 1, 1
    for kernel, dilation, stride in layers:
        apart *= stride
        side += dilation * (kernel - 1) * apart
    return side


def _strides_added(layers):
    side, apart = 1, 1
    for kernel, dilation, stride in layers:
        side += dilation * (kernel - 1) * apart
        apart += stride - 1
    return side


def _without_dilation(layers):
    return _side([(kernel, 1, stride) for kernel, _, stride in layers])


_FIVE = "returns 5 for two layers with kernels of size 3"
_STRIDED = "returns 7 for two kernels of size 3, the first with stride 2"
_LAST = "gives the same answer whatever the stride of the last layer"


@exercise(
    "11.1",
    "side of the window of a stack with strides",
    reference=_side,
    hint="a kernel of size k and dilation d spans d (k - 1) steps, and a step is as many input "
    "pixels long as the strides of all earlier layers multiplied",
    properties=[
        Property(
            _FIVE,
            lambda case: case.call(layers=[(3, 1, 1), (3, 1, 1)]) == 5,
            "start from 1 and add d (k - 1) for each layer",
        ),
        Property(
            _LAST,
            lambda case: (
                case.call(layers=[*case["layers"][:-1], (3, 1, 1)])
                == case.call(layers=[*case["layers"][:-1], (3, 1, 4)])
            ),
            "a stride moves the window of the layer, it does not make it wider: it counts for the "
            "layers after it",
        ),
        Property(
            _STRIDED,
            lambda case: case.call(layers=[(3, 1, 2), (3, 1, 1)]) == 7,
            "after a stride of 2, neighbours in the features are 2 input pixels apart: 1 + 2 + 4",
        ),
    ],
    wrong=[
        (lambda layers: sum(d * (k - 1) for k, d, _ in layers), _FIVE),
        (_own_stride_first, _LAST),
        (lambda layers: 1 + sum(d * (k - 1) for k, d, _ in layers), _STRIDED),
        (_strides_added, AGREES),
        (_without_dilation, AGREES),
    ],
)
def _(generator):
    def draw(values, count):
        return [values[i] for i in torch.randint(len(values), (count,), generator=generator)]

    count = 2 + torch.randint(3, (1,), generator=generator).item()
    layers = list(
        zip(draw([1, 2, 3, 5], count), draw([1, 2, 3], count), draw([1, 2], count), strict=True)
    )
    return {"layers": [(3, 1, 2), (2, 1, 3), *layers, (3, 2, 1)]}


def _repaired(h, kernel):
    """Neighbour by neighbour, so that nothing depends on a padding mode."""
    normal = functional.normalize(h, dim=1)  # a direction in the space of the channels
    square = h.square().mean(1, keepdim=True)
    normal = normal * (h.shape[1] * square / (square + 1e-6)).sqrt()
    total = 0
    for i in range(3):
        for j in range(3):
            neighbour = normal.roll((1 - i, 1 - j), (2, 3))
            total = total + torch.einsum("ok,bkhw->bohw", kernel[:, :, i, j], neighbour)
    return total * total.sigmoid()


def _layer(h, kernel, over=1, mode="circular", centred=False, root=True):
    """The layer with the mistakes that readers make."""
    if centred:
        h = h - h.mean(over, keepdim=True)
    square = h.square().mean(over, keepdim=True) + 1e-6
    normal = h / (square.sqrt() if root else square)
    return functional.silu(
        functional.conv2d(functional.pad(normal, (1, 1, 1, 1), mode=mode), kernel)
    )


_ALONE = "treats the images of a batch one by one"
_LOCAL = "leaves a pixel as it is when only pixels outside its 3 x 3 window change"
_SHIFTS = "commutes with circular shifts"


def _outside_changed(case):
    """The input with all pixels changed that the pixel (2, 2) must not see."""
    outside = torch.ones(case["h"].shape[2:])
    outside[1:4, 1:4] = 0
    return case["h"] + outside * (1 + case["h"].abs())


@exercise(
    "11.2",
    "a layer that is local and equivariant",
    reference=_repaired,
    hint="divide by the root of (mean square over the channels + 1e-6), pad circularly by 1, "
    "convolve without padding, then SiLU; change nothing else",
    properties=[
        Property(
            _ALONE,
            lambda case: close(case.call(h=case["h"][:1]), case.result[:1]),
            "no mean over dimension 0",
        ),
        Property(
            _LOCAL,
            lambda case: close(
                case.call(h=_outside_changed(case))[..., 2, 2], case.result[..., 2, 2]
            ),
            "a mean over dimensions 2 and 3 sees all pixels; the channels are dimension 1",
        ),
        Property(
            _SHIFTS,
            lambda case: close(
                case.call(h=case["h"].roll((1, 2), (2, 3))), case.result.roll((1, 2), (2, 3))
            ),
            "beyond the last column comes the first one: torch.nn.functional.pad(..., "
            'mode="circular"), then a convolution without padding',
        ),
    ],
    wrong=[
        (lambda h, kernel: _layer(h, kernel, over=(0, 1)), _ALONE),
        (lambda h, kernel: _layer(h, kernel, over=(2, 3)), _LOCAL),
        (lambda h, kernel: _layer(h, kernel, over=(1, 2, 3)), _LOCAL),
        (lambda h, kernel: _layer(h, kernel, mode="constant"), _SHIFTS),
        (lambda h, kernel: _layer(h, kernel, mode="replicate"), _SHIFTS),
        (lambda h, kernel: _layer(h, kernel, centred=True), AGREES),
        (lambda h, kernel: _layer(h, kernel, root=False), AGREES),
    ],
)
def _(generator):
    h = torch.randn(2, 4, 6, 7, generator=generator)
    return {"h": h, "kernel": 0.5 * torch.randn(3, 4, 3, 3, generator=generator)}
