"""One shard: zstd frames of ids, and an index behind them. Nothing in the file is believed before it was checked."""

from __future__ import annotations

import os
import struct

import numpy as np
import xxhash
import zstandard

from .errors import ShardError

INDEX_MAGIC = b"ANDRSHRD"
INDEX_FRAME = 0x184D2A50
SEEK_FRAME = 0x184D2A5E
SEEKABLE = 0x8F92EAB1
HEAD = struct.Struct("<8sHBBIIIQIII32s")
FOOTER = 9
MAX_FRAME_TOKENS = 1 << 24


class Shard:
    """A shard's index; frames are read when they are asked for.

    Arrays are views of the index: `ends`, `sources` and `rows` of documents, `masked` as pairs of places.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with open(path, "rb") as file:
            length = os.fstat(file.fileno()).st_size
            if length < FOOTER + 8:
                raise ShardError(f"{path} does not end as a shard does; it was cut short or is no shard")
            file.seek(length - FOOTER)
            entries, descriptor, magic = struct.unpack("<IBI", file.read(FOOTER))
            if magic != SEEKABLE or descriptor != 0 or entries < 1:
                raise ShardError(f"{path} does not end as a shard does; it was cut short or is no shard")
            table_bytes = 8 + 8 * entries + FOOTER
            if table_bytes > length:
                raise ShardError(f"{path} is {length} bytes long, its seek table alone {table_bytes}")
            file.seek(length - table_bytes)
            table = file.read(table_bytes)
            sizes = np.frombuffer(table, "<u4", 2 * entries, 8).reshape(entries, 2)
            described = table_bytes + int(sizes[:, 0].sum(dtype=np.uint64))
            if described != length:
                raise ShardError(f"{path} is {length} bytes long, its seek table describes {described}")
            index_bytes = int(sizes[-1, 0])
            file.seek(length - table_bytes - index_bytes)
            frame = file.read(index_bytes)
        if index_bytes < 8 or struct.unpack_from("<II", frame) != (INDEX_FRAME, index_bytes - 8):
            raise ShardError(f"{path} has no Andromeda index; it is another program's file")
        self._decode(frame[8:])
        if struct.unpack_from("<II", table) != (SEEK_FRAME, table_bytes - 8):
            raise ShardError(f"{path} does not end as a shard does")
        implied = np.zeros((len(self.sizes) + 1, 2), np.int64)
        implied[:-1, 0] = self.sizes
        implied[-1, 0] = index_bytes
        counts = np.full(len(self.sizes), self.frame_tokens, np.int64)
        counts[-1] = self.tokens - self.frame_tokens * (len(self.sizes) - 1)
        implied[:-1, 1] = counts * self.width
        if implied.shape != sizes.shape or not np.array_equal(implied, sizes):
            raise ShardError(f"the index of {path} is wrong: the seek table is another")
        self.counts = counts
        self.offsets = np.concatenate([[0], np.cumsum(self.sizes.astype(np.int64))])

    def _decode(self, payload: bytes) -> None:
        path = self.path
        if len(payload) < HEAD.size + 8 or payload[:8] != INDEX_MAGIC:
            raise ShardError(f"{path} has no Andromeda index; it is another program's file")
        (_, version, self.width, flags, self.vocab_size, self.end_of_text, self.frame_tokens, self.tokens, documents, frames,
         masked, tokenizer) = HEAD.unpack_from(payload)
        if version != 1:
            raise ShardError(f"{path} has version {version}; this package reads 1")
        content, (stored,) = payload[:-8], struct.unpack("<Q", payload[-8:])
        if xxhash.xxh3_64_intdigest(content) != stored:
            raise ShardError(f"the index of {path} is damaged")

        def hold(fact: bool, what: str) -> None:
            if not fact:
                raise ShardError(f"the index of {path} is wrong: {what}")

        hold(self.width in (2, 4), "tokens are neither two nor four bytes")
        hold(flags & ~3 == 0, "it has flags that version 1 does not have")
        hold(HEAD.size + 12 * frames + 20 * documents + 16 * masked == len(content), "its length is not that of its arrays")
        hold(1 <= self.frame_tokens <= MAX_FRAME_TOKENS, "frames of no tokens, or of too many")
        hold(self.end_of_text < self.vocab_size, "the end of text is outside the vocabulary")
        hold((self.width == 2) == (self.vocab_size <= 1 << 16), "the bytes of a token do not suit the vocabulary")
        hold(self.tokens > 0 and -(-self.tokens // self.frame_tokens) == frames, "the frames do not hold the tokens")
        self.tokenizer = tokenizer.hex()
        self.continues_from_previous = bool(flags & 1)
        self.continues_in_next = bool(flags & 2)
        at = HEAD.size

        def array(kind: str, count: int) -> np.ndarray:
            nonlocal at
            found = np.frombuffer(content, kind, count, at)
            at += found.nbytes
            return found

        self.sizes = array("<u4", frames)
        self.hashes = array("<u8", frames)
        ends = array("<u8", documents)
        self.sources = array("<u4", documents)
        self.rows = array("<u8", documents)
        spans = array("<u8", 2 * masked)
        hold(documents > 0 and int(ends[-1]) == self.tokens, "the documents do not end where the tokens do")
        # Signed from here on, so that differences are what they look like; all are at most `tokens`.
        hold(self.tokens < 1 << 63 and bool((ends <= self.tokens).all()), "the documents do not end where the tokens do")
        self.ends = ends.astype(np.int64)
        self.starts = np.concatenate([[0], self.ends[:-1]])
        hold(bool((self.ends > self.starts).all()), "documents are not in order")
        hold(bool((spans <= self.tokens).all()), "masked spans are not in order")
        self.masked = spans.astype(np.int64).reshape(masked, 2)
        flat = self.masked.reshape(-1)
        hold(bool((flat[1:] > flat[:-1]).all()), "masked spans are not in order")

    def frame(self, number: int) -> np.ndarray:
        """The ids of a frame, checked."""
        size, count = int(self.sizes[number]), int(self.counts[number])
        with open(self.path, "rb") as file:
            file.seek(int(self.offsets[number]))
            data = file.read(size)
        damaged = ShardError(f"frame {number} of {self.path} is damaged")
        if len(data) != size or xxhash.xxh3_64_intdigest(data) != int(self.hashes[number]):
            raise damaged
        declared = count * self.width
        try:
            if zstandard.frame_content_size(data) != declared:
                raise damaged
            raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=declared)
        except zstandard.ZstdError:
            raise damaged from None
        if len(raw) != declared:
            raise damaged
        ids = np.frombuffer(raw, "<u2" if self.width == 2 else "<u4")
        largest = int(ids.max())
        if largest >= self.vocab_size:
            raise ShardError(
                f"frame {number} of {self.path} holds token {largest}, outside the vocabulary of {self.vocab_size}"
            )
        return ids
