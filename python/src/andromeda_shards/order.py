"""Which sequence stands where. Pure functions of integers, from the page "The order of sequences" of `format/SPEC.md`."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from itertools import accumulate
from typing import List, Optional, Sequence, Tuple

from xxhash import xxh3_64_intdigest as xxh3

MASK = (1 << 64) - 1


def eight(x: int) -> bytes:
    """A number as 8 bytes."""
    return x.to_bytes(8, "little")


def permute(x: int, n: int, key: int) -> int:
    """A permutation of the numbers below `n`: a Feistel network, walked until it gives one of them."""
    b = (max(2, (n - 1).bit_length()) + 1) // 2
    mask = (1 << b) - 1
    while True:
        left, right = x >> b, x & mask
        for i in range(6):
            left, right = right, left ^ (xxh3(eight(right), (key + i) & MASK) & mask)
        x = left << b | right
        if x < n:
            return x


def best_fit(lengths: Sequence[int], room: int) -> List[List[int]]:
    """Which pieces stand in each sequence, by number; pieces are at most `room` long.

    By falling length, then by number; each into the sequence with the least room that is enough, of several the first begun.
    """
    sequences: List[List[int]] = []
    # The sequences that have room: how much, and their number.
    left: List[Tuple[int, int]] = []
    for piece in sorted(range(len(lengths)), key=lambda piece: -lengths[piece]):
        length = lengths[piece]
        at = bisect_left(left, (length, 0))
        if at < len(left):
            had, number = left.pop(at)
        else:
            had, number = room, len(sequences)
            sequences.append([])
        sequences[number].append(piece)
        if had > length:
            insort(left, (had - length, number))
    for pieces in sequences:
        pieces.sort()
    return sequences


class Order:
    """The order of one source, whose sequences stand in chunks; `firsts` has the sequences before each chunk, and all."""

    def __init__(self, root: str, dataset: Optional[str], seed: int, group_chunks: int) -> None:
        self.key = xxh3(root.encode(), seed)
        if dataset is not None:
            self.key ^= xxh3(dataset.encode(), 0)
        self.group_chunks = group_chunks
        #: Of the epoch asked for last: its number, and the sequences before each group.
        self._epoch: Optional[Tuple[int, List[int]]] = None
        #: Of the group asked for last: epoch, number, its chunks as taken, the sequences before each of them, and all.
        self._group: Optional[Tuple[int, int, List[int], List[int]]] = None

    def locate(self, position: int, firsts: "Firsts") -> Tuple[int, int]:
        """The chunk, and the sequence in it, at a position."""
        n, chunks = firsts.sequences, firsts.chunks
        epoch, place = divmod(position, n)
        key = self.key ^ xxh3(eight(epoch), 0)
        if chunks <= self.group_chunks:
            return firsts.locate(permute(place, n, key))
        if self._epoch is None or self._epoch[0] != epoch:
            before, total = [], 0
            for at in range(chunks):
                if at % self.group_chunks == 0:
                    before.append(total)
                total += firsts.size(permute(at, chunks, key))
            self._epoch = (epoch, before)
        before = self._epoch[1]
        number = bisect_right(before, place) - 1
        if self._group is None or self._group[:2] != (epoch, number):
            first = number * self.group_chunks
            taken = [permute(at, chunks, key) for at in range(first, min(chunks, first + self.group_chunks))]
            sizes = list(accumulate((firsts.size(chunk) for chunk in taken), initial=0))
            self._group = (epoch, number, taken, sizes)
        _, _, taken, sizes = self._group
        within = permute(place - before[number], sizes[-1], xxh3(eight(number), key))
        at = bisect_right(sizes, within) - 1
        return taken[at], within - sizes[at]


class Firsts:
    """The chunks of a source: how many sequences each has."""

    def __init__(self, sequences: int, per_chunk: int = 0, listed: Optional[List[int]] = None) -> None:
        self.sequences = sequences
        self.per_chunk = per_chunk
        #: Sequences before each chunk, and all; nothing where all chunks but the last have as many.
        self.listed = listed
        self.chunks = -(-sequences // per_chunk) if listed is None else len(listed) - 1

    def first(self, chunk: int) -> int:
        """Sequences before a chunk."""
        return min(chunk * self.per_chunk, self.sequences) if self.listed is None else self.listed[chunk]

    def size(self, chunk: int) -> int:
        """Sequences of a chunk."""
        return self.first(chunk + 1) - self.first(chunk)

    def locate(self, sequence: int) -> Tuple[int, int]:
        """The chunk of a sequence of the stored order, and its place there."""
        if self.listed is None:
            return divmod(sequence, self.per_chunk)
        chunk = bisect_right(self.listed, sequence) - 1
        return chunk, sequence - self.listed[chunk]


def source_at(position: int, weights: Sequence[int]) -> Tuple[int, int]:
    """Which source a position belongs to, and the position in it."""
    rest, total = position, sum(weights)
    for i, weight in enumerate(weights):
        now = (rest * weight + total // 2) // total
        then = ((rest + 1) * weight + total // 2) // total
        if then > now:
            return i, now
        rest -= now
        total -= weight
    raise AssertionError("the last source takes what is left")


def given(position: int, weights: Sequence[int]) -> List[int]:
    """How many sequences each source has given before a position."""
    rest, total, out = position, sum(weights), []
    for weight in weights:
        now = (rest * weight + total // 2) // total
        out.append(now)
        rest -= now
        total -= weight
    return out
