"""The engine: softmax attention over millions of keys, streamed; it knows tensors, not images."""

from .dense import Keys
from .index import Index
from .reduce import Source, largest_of_all, processes, reduce
from .screen import Screen
from .state import Details, State, combine
from .stream import Stream
from .top import Top, strongest

__all__ = [
    "Details",
    "Index",
    "Keys",
    "Screen",
    "Source",
    "State",
    "Stream",
    "Top",
    "combine",
    "largest_of_all",
    "processes",
    "reduce",
    "strongest",
]
