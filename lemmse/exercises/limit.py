"""A time limit for a reader's function."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class OutOfTimeError(BaseException):
    """The time is up. No Exception: a reader's `except Exception` must not swallow it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError inside when the time is up, and every second from then on.

    The seconds are those of the processor, so that a busy machine takes nothing from them. Python
    can interrupt itself on the main thread only, and not on Windows: elsewhere there is no limit.

    Example:
        >>> try:
        ...     with time_limit(0.01):
        ...         while True:
        ...             pass
        ... except OutOfTimeError:
        ...     print("too long")
        too long
    """
    main = threading.current_thread() is threading.main_thread()
    if not (main and hasattr(signal, "setitimer")):
        yield
        return

    def ring(number, frame):
        raise OutOfTimeError

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
