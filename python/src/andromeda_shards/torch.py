"""A PyTorch dataset. Importing this module imports torch; nothing else of the package does."""

from __future__ import annotations

from typing import Any, Dict, Iterator, Optional

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from .errors import ShardError
from .loader import Loader

#: Of a target without loss, as `torch.nn.functional.cross_entropy` ignores it.
IGNORED = -100


class SequenceDataset(IterableDataset):  # type: ignore[type-arg]
    """Batches of one of `world` machines, from the position `start` on, without end or before `stop`.

    A batch has `input_ids` and `labels` (int64, batch by sequence_tokens; labels without loss are -100) and `position`: where all
    machines go on when each has trained this batch. Keep `loader.state(position).to_json()` in the checkpoint.

    Give it to a `DataLoader` with `batch_size=None`: batches are made here, so that they come in the same order with any number
    of workers.
    """

    def __init__(
        self,
        loader: Loader,
        batch: int = 1,
        *,
        start: int = 0,
        stop: Optional[int] = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__()
        if batch < 1 or not 0 <= rank < world:
            raise ShardError(f"batches of {batch}, rank {rank} of a world of {world}: ranks count from 0, batches have one or more")
        self.loader = loader
        self.batch = batch
        self.start = start
        self.stop = stop
        self.rank = rank
        self.world = world

    def __iter__(self) -> Iterator[Dict[str, Any]]:
        info = get_worker_info()
        number, step = (0, 1) if info is None else (info.id, info.num_workers)
        while True:
            first = self.start + number * self.batch * self.world
            end = first + self.batch * self.world
            if self.stop is not None and end > self.stop:
                return
            sequences = [self.loader.read(position) for position in range(first + self.rank, end, self.world)]
            ids = torch.from_numpy(np.stack([sequence.ids for sequence in sequences]).astype(np.int64))
            loss = torch.from_numpy(np.stack([sequence.loss for sequence in sequences]))
            labels = ids[:, 1:].clone()
            labels[~loss] = IGNORED
            yield {"input_ids": ids[:, :-1].contiguous(), "labels": labels, "position": end}
            number += step
