r"""Algorithms cut off after K steps, and trained: each step is a layer.

All start at :math:`f_0 = 0` and compute, K times, a gradient step on the data and then what the
prior asks for. Inside, the problem is scaled by :math:`\|A\|`, the largest singular value:

.. math:: \hat A = A / \|A\|, \qquad \hat y = y / \|A\|, \qquad \hat\sigma = \sigma / \|A\|

so that steps, thresholds and matrices are numbers without unit, of order one for every operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..devices import plain_mode
from ..operators import materialise
from ..operators.checks import check_positive, check_positive_integers
from .decomposition import squared_norm
from .physics import PhysicsNetwork
from .wavelet import haar, inverse_haar

DICTIONARIES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "wavelet": (haar, inverse_haar),
    "identity": (lambda x: x, lambda c: c),
}
"""Orthonormal bases in which images are taken to be sparse: analysis and synthesis."""


class UnrolledNetwork(PhysicsNetwork):
    """K layers, each a function of the last estimate and of the measurement.

    Subclasses define ``layer(k, f, y, sigma)``.

    Args:
        operator, image_shape: see `PhysicsNetwork`.
        layers: K.
        shared: whether all layers have the same trained numbers, or each its own.

    Attributes:
        layers: K.
        copies: 1 if shared, else K: the first dimension of the trained numbers.
        lipschitz: :math:`L = \\|A\\|^2`, the largest eigenvalue of A^T A.

    Raises:
        ValueError: see `PhysicsNetwork`; or K is not a positive integer.
    """

    def __init__(
        self, operator: object, image_shape: Sequence[int], layers: int, shared: bool = False
    ):
        super().__init__(operator, image_shape)
        check_positive_integers(layers=layers)
        self.layers = layers
        self.copies = 1 if shared else layers
        self.lipschitz = squared_norm(self.operator, self.unit_shape)

    def layer(self, k: int, f: Tensor, y: Tensor, sigma: Tensor) -> Tensor:
        """What a subclass defines: the estimate after layer k = 0, ..., K - 1.

        Args:
            k: which set of numbers to use; always 0 if they are shared.
            f: the estimate before, (B, C, H, W).
            y: the measurement divided by the norm of A.
            sigma: its noise level, (B, 1, 1, 1).
        """
        raise NotImplementedError(f"{type(self).__name__} does not define layer")

    @plain_mode()
    def iterates(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """The estimates after each layer, (K, B, C, H, W). Arguments and errors as for a call."""
        return torch.stack(self._run(*self.checked(y, sigma)))

    def reconstruct(self, y: Tensor, sigma: Tensor) -> Tensor:
        return self._run(y, sigma)[-1]

    def _run(self, y: Tensor, sigma: Tensor) -> list[Tensor]:
        norm = math.sqrt(self.lipschitz)
        y, sigma = y / norm, sigma[:, None, None, None] / norm
        f = [sigma.new_zeros(len(y), *self.image_shape)]
        for k in range(self.layers):
            f.append(self.layer(min(k, self.copies - 1), f[-1], y, sigma))
        return f[1:]


class SteppingNetwork(UnrolledNetwork):
    r"""An unrolled network that steps along the gradient, with trained step sizes.

    .. math:: f + \alpha_k A^T (y - A f)

    If A is not linear, :math:`A^T` stands for ``A_vjp``, the adjoint of its derivative at f: the
    step is still down the gradient of :math:`\|y - A(f)\|^2 / 2`.

    Args:
        operator, image_shape, layers, shared: see `UnrolledNetwork`.

    Attributes:
        log_step: logarithms of :math:`\alpha_k L`, trained, of length K, or 1 if shared. They start
            at 0; gradient descent with a fixed step converges below log 2.
    """

    def __init__(
        self, operator: object, image_shape: Sequence[int], layers: int, shared: bool = False
    ):
        super().__init__(operator, image_shape, layers, shared)
        self.log_step = nn.Parameter(torch.zeros(self.copies))

    @property
    def alpha(self) -> Tensor:
        """The step sizes :math:`\\alpha_k`."""
        return self.log_step.detach().exp() / self.lipschitz

    def towards_data(self, k: int, f: Tensor, y: Tensor) -> Tensor:
        """:math:`\\alpha_k A^T (y - A f)`, for y divided by the norm of A."""
        norm = math.sqrt(self.lipschitz)
        residual = y - self.operator.A(f) / norm
        return self.log_step[k].exp().to(f) * self.operator.A_vjp(f, residual) / norm


class UnrolledGradient(SteppingNetwork):
    r"""K steps of gradient descent on the criterion of a Gaussian prior.

    .. math:: f_{k+1} = f_k + \alpha_k \big( A^T (y - A f_k) - \sigma^2 \pi_k f_k \big),
        \qquad f_0 = 0

    With the same numbers in every layer it descends
    :math:`\tfrac12 \|A f - y\|^2 + \tfrac12 \sigma^2 \pi \|f\|^2`, and for
    :math:`\alpha < 2 / (L + \sigma^2 \pi)` it converges to `RegularisedInverse`: the error along
    the i-th singular direction is multiplied by :math:`1 - \alpha (s_i^2 + \sigma^2 \pi)` in each
    layer.
    With larger steps it diverges.

    Free steps start at different values, spread geometrically from :math:`1 / L` to
    :math:`2 / L`: as long as the precisions are equal the result does not depend on the order of
    the steps, so that equal steps would have equal gradients, and training would keep them equal.

    Args:
        operator, image_shape: see `PhysicsNetwork`.
        layers: K.
        shared: one :math:`\alpha` and :math:`\pi` for all layers, 2 trained numbers instead of 2 K.
        precision: :math:`\pi_k` before training, > 0.

    Attributes:
        log_step: logarithms of :math:`\alpha_k L`, trained; 0 at the start if shared.
        log_precision: logarithms of the :math:`\pi_k`, trained.

    Raises:
        ValueError: see `PhysicsNetwork`; K is not a positive integer, or the precision not > 0.

    Source: [PHY], section on unrolling.

    Example:
        >>> from lemmse.operators import Identity
        >>> net = UnrolledGradient(Identity(), (1, 4, 4), layers=3, shared=True)
        >>> net.iterates(torch.ones(1, 1, 4, 4), sigma=0.5)[:, 0, 0, 0, 0]
        tensor([1.0000, 0.7500, 0.8125], grad_fn=<SelectBackward0>)
    """

    def __init__(
        self,
        operator: object,
        image_shape: Sequence[int],
        layers: int = 10,
        shared: bool = False,
        precision: float = 1.0,
    ):
        super().__init__(operator, image_shape, layers, shared)
        start = math.log(check_positive(precision, "precision"))
        self.log_precision = nn.Parameter(torch.full((self.copies,), start))
        if self.copies > 1:
            self.log_step.data = math.log(2) * torch.linspace(0, 1, self.copies)

    def layer(self, k: int, f: Tensor, y: Tensor, sigma: Tensor) -> Tensor:
        shrinkage = (self.log_step[k] + self.log_precision[k]).exp().to(f) * sigma.square()
        return f + self.towards_data(k, f, y) - shrinkage * f


class UnrolledISTA(SteppingNetwork):
    r"""K steps of iterative soft thresholding in an orthonormal basis :math:`\Psi`.

    .. math:: f_{k+1} = \Psi^T \mathrm{soft}_{t_k} \big(
        \Psi (f_k + \alpha_k A^T (y - A f_k)) \big),
        \qquad t_k = \theta_k \sigma / \|A\|, \qquad f_0 = 0

    with :math:`\mathrm{soft}_t(c) = \mathrm{sign}(c) \max(|c| - t, 0)`. With fixed numbers and
    :math:`\alpha < 2 / L` it converges to the minimiser of
    :math:`\tfrac12 \|A f - y\|^2 + \mu \|\Psi f\|_1`, :math:`\mu = t / \alpha` (see `weight`): the
    most probable image under a Laplacian prior of its coefficients.

    Args:
        operator, image_shape: see `PhysicsNetwork`.
        layers: K.
        shared: one :math:`\alpha` and :math:`\theta` for all layers, 2 trained numbers, not 2 K.
        dictionary: "wavelet", :math:`\Psi` of `haar`; or "identity", sparse pixels.
        threshold: :math:`\theta_k` before training, > 0.

    Attributes:
        log_step: logarithms of :math:`\alpha_k L`, trained, 0 at the start.
        log_threshold: logarithms of the :math:`\theta_k`, trained.

    Raises:
        ValueError: see `PhysicsNetwork`; K is not a positive integer, the threshold not > 0, the
            dictionary is another one, or "wavelet" is to work on a side that is odd.

    Source: Daubechies, Defrise, De Mol, An iterative thresholding algorithm for linear inverse
        problems with a sparsity constraint, Comm. Pure Appl. Math. 57, 2004.

    Example:
        >>> from lemmse.operators import Identity
        >>> net = UnrolledISTA(Identity(), (1, 4, 4), 1, dictionary="identity", threshold=1.0)
        >>> net(torch.ones(1, 1, 4, 4), sigma=0.25)[0, 0, 0, 0].item()
        0.75
    """

    def __init__(
        self,
        operator: object,
        image_shape: Sequence[int],
        layers: int = 10,
        shared: bool = False,
        dictionary: str = "wavelet",
        threshold: float = 0.1,
    ):
        super().__init__(operator, image_shape, layers, shared)
        check_dictionary(dictionary, self.image_shape)
        self.dictionary = dictionary
        start = math.log(check_positive(threshold, "threshold"))
        self.log_threshold = nn.Parameter(torch.full((self.copies,), start))

    def weight(self, sigma: float, k: int = -1) -> float:
        r""":math:`\mu = \theta_k \sigma / (\|A\| \alpha_k)`, the weight in layer k's criterion."""
        ratio = (self.log_threshold[k] - self.log_step[k]).exp().item()
        return ratio * sigma * math.sqrt(self.lipschitz)

    def layer(self, k: int, f: Tensor, y: Tensor, sigma: Tensor) -> Tensor:
        analysis, synthesis = DICTIONARIES[self.dictionary]
        coefficients = analysis(f + self.towards_data(k, f, y))
        return synthesis(soft(coefficients, self.log_threshold[k].exp().to(f) * sigma))


class LISTA(UnrolledNetwork):
    r"""Learned ISTA: the matrices of ISTA become trained ones.

    .. math:: c_{k+1} = \mathrm{soft}_{\theta_k \sigma / \|A\|} \big( W_k \hat y + S_k c_k \big),
        \qquad f_k = \Psi^T c_k, \qquad c_0 = 0

    At the start :math:`W = \Psi \hat A^T` and :math:`S = I - \Psi \hat A^T \hat A \Psi^T`, which is
    `UnrolledISTA` with step 1. W has n m and S has n^2 numbers (n pixels, m measured numbers), so
    it is for small images; channels are treated alike if the operator does so.

    Args:
        operator, image_shape: see `PhysicsNetwork`.
        layers: K.
        shared: one W, S and :math:`\theta` for all layers, as in the paper.
        dictionary: see `UnrolledISTA`.
        threshold: :math:`\theta` before training, > 0.

    Attributes:
        encoder: W, (1 or K, n, m), trained.
        recurrence: S, (1 or K, n, n), trained.
        log_threshold: logarithms of :math:`\theta`, one for each coefficient, (1 or K, n), trained.

    Raises:
        ValueError: as for `UnrolledISTA`.

    Source: Gregor, LeCun, Learning fast approximations of sparse coding, ICML 2010, section 3.

    Example:
        >>> from lemmse.operators import Blur
        >>> net = LISTA(Blur.gaussian(1.0, (8, 8)), (1, 8, 8), layers=5)
        >>> sum(p.numel() for p in net.parameters())
        8256
    """

    def __init__(
        self,
        operator: object,
        image_shape: Sequence[int],
        layers: int = 10,
        shared: bool = True,
        dictionary: str = "wavelet",
        threshold: float = 0.1,
    ):
        super().__init__(operator, image_shape, layers, shared)
        check_dictionary(dictionary, self.image_shape)
        self.dictionary = dictionary
        start = math.log(check_positive(threshold, "threshold"))
        analysis, _ = DICTIONARIES[dictionary]
        rows = materialise(self.operator.A, self.unit_shape) / math.sqrt(self.lipschitz)
        matrix = analysis(rows.unflatten(1, self.unit_shape)).flatten(1)  # of A Psi^T / |A|
        n = matrix.shape[1]

        def copied(t: Tensor) -> nn.Parameter:
            t = t.to(torch.get_default_device(), torch.get_default_dtype())
            return nn.Parameter(t.repeat(self.copies, *[1] * t.ndim))

        self.encoder = copied(matrix.T)
        self.recurrence = copied(torch.eye(n, device=matrix.device) - matrix.T @ matrix)
        self.log_threshold = copied(torch.full((n,), start))

    def layer(self, k: int, f: Tensor, y: Tensor, sigma: Tensor) -> Tensor:
        analysis, synthesis = DICTIONARIES[self.dictionary]
        c = analysis(f).reshape(len(f), -1, self.recurrence.shape[1])
        c = self.vectors(y) @ self.encoder[k].T.to(f) + c @ self.recurrence[k].T.to(f)
        c = soft(c, self.log_threshold[k].exp().to(f) * sigma[..., 0])
        return synthesis(c.reshape(f.shape))


def soft(c: Tensor, threshold: Tensor) -> Tensor:
    r"""Soft thresholding, :math:`\mathrm{sign}(c) \max(|c| - t, 0)`.

    It is the c' that minimises :math:`\tfrac12 |c' - c|^2 + t |c'|`.

    Example:
        >>> soft(torch.tensor([-2.0, 0.5, 3.0]), torch.tensor(1.0))
        tensor([-1., 0., 2.])
    """
    return c.sign() * functional.relu(c.abs() - threshold)


def check_dictionary(name: str, image_shape: tuple[int, int, int]) -> None:
    """Raises ValueError unless it is the name of a dictionary for images of this shape."""
    if name not in DICTIONARIES:
        raise ValueError(f"dictionary: expected one of {list(DICTIONARIES)}, got {name!r}")
    if name == "wavelet" and (image_shape[1] % 2 or image_shape[2] % 2):
        raise ValueError(
            f"dictionary: expected images with even sides for wavelets, got {image_shape[1:]}; "
            'the dictionary "identity" takes any'
        )
