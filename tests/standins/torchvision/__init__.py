"""A stand-in for torchvision: the few names that deepinv imports, none of which the tests use."""


class Absent:
    """Something of torchvision that is not here."""

    def __init__(self, *args, **kwargs):
        raise NotImplementedError("this is the tests' stand-in for torchvision, which has no code")
