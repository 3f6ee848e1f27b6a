"""The engine: softmax attention over millions of keys, streamed; it knows tensors, not images."""

from .dense import Keys, attend
from .index import Index
from .reduce import Source, Stream, processes, reduce
from .state import Details, State, combine
from .top import Top, strongest

__all__ = [
    "Details",
    "Index",
    "Keys",
    "Source",
    "State",
    "Stream",
    "Top",
    "attend",
    "combine",
    "processes",
    "reduce",
    "strongest",
]
