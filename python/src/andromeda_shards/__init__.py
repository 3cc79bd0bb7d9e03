"""Reads the shards of Andromeda: a build's documents, and training sequences in the order of its own loader.

    from andromeda_shards import Build, Loader

    build = Build("shards/corpus-1a2b3c4d")
    for document in build.documents("val"):
        ...
    loader = Loader(build, "train", sequence_tokens=2048, seed=1)
    for sequence in loader.iterate(start=0):
        ...

The format and the order are specified in `format/SPEC.md` of Andromeda. `andromeda_shards.torch` has a PyTorch dataset; torch
is imported by nothing else.
"""

from .build import Build, Document
from .errors import PositionError, ShardError
from .loader import Account, Loader, LoaderState, Sequence, Source

__all__ = [
    "Account",
    "Build",
    "Document",
    "Loader",
    "LoaderState",
    "PositionError",
    "Sequence",
    "ShardError",
    "Source",
]
__version__ = "0.1.0"
