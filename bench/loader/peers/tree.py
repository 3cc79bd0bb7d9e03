"""Processor seconds of this process and of all that it started, those that have ended among them."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds():
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system + sum(map(living, children(os.getpid())))


def children(process):
    for thread in Path(f"/proc/{process}/task").iterdir():
        for child in (thread / "children").read_text().split():
            yield int(child)


def living(process):
    try:
        # Behind the name, which is in brackets: user and system time are the 12th and 13th, then those of its ended children.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / TICKS + sum(map(living, children(process)))
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def batches(loader, tokens_of):
    """Tokens a processor second of batches that a loader's worker makes ahead; the first 125 are start-up."""
    read, start, warm = 0, None, 125
    for number, batch in enumerate(loader):
        if number == warm:
            start = processor_seconds()
        if number >= warm:
            read += tokens_of(batch)
    return read / (processor_seconds() - start)
