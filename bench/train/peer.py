#!/usr/bin/env python3
"""Steps of PaLM's or MPT's block with PyTorch: seconds, processor seconds, peak memory.

    python peer.py FAMILY VOCABULARY WIDTH LAYERS HEADS HEAD_SIZE TOKENS SEQUENCES STEPS [bf16] [tf32] [compile] [cuda]

Written as one would write it for PyTorch: fused projections, its own attention, norm and AdamW, autocast for bf16. Prints JSON.
"""

import json
import math
import resource
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Palm(nn.Module):
    def __init__(self, width, heads, size):
        super().__init__()
        self.heads, self.size, self.feed = heads, size, 4 * width
        self.norm = nn.LayerNorm(width, bias=False)
        self.into = nn.Linear(width, heads * size + 2 * size + 2 * self.feed, bias=False)
        self.attention_out = nn.Linear(heads * size, width, bias=False)
        self.down = nn.Linear(self.feed, width, bias=False)

    def forward(self, x, places):
        b, t, _ = x.shape
        widths = (self.heads * self.size, self.size, self.size, self.feed, self.feed)
        q, k, v, up, gate = self.into(self.norm(x)).split(widths, -1)
        q = turned(q.view(b, t, self.heads, self.size).transpose(1, 2), places)
        k = turned(k.view(b, t, 1, self.size).transpose(1, 2), places).expand(b, self.heads, t, self.size)
        v = v.view(b, t, 1, self.size).transpose(1, 2).expand(b, self.heads, t, self.size)
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, -1)
        return x + self.attention_out(o) + self.down(F.silu(gate) * up)


class Mpt(nn.Module):
    def __init__(self, width, heads, size):
        super().__init__()
        self.heads, self.size = heads, size
        self.norm, self.second = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.into = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x, bias):
        b, t, _ = x.shape
        q, k, v = (part.view(b, t, self.heads, self.size).transpose(1, 2) for part in self.into(self.norm(x)).chunk(3, -1))
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype)).transpose(1, 2).reshape(b, t, -1)
        x = x + self.attention_out(o)
        return x + self.down(F.gelu(self.up(self.second(x))))


def turned(x, places):
    cos, sin = (place.to(x.dtype) for place in places)
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Model(nn.Module):
    def __init__(self, family, vocabulary, width, layers, heads, size, tokens):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        block = {"palm": Palm, "mpt": Mpt}[family]
        self.blocks = nn.ModuleList(block(width, heads, size) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        place = torch.arange(tokens, dtype=torch.float32)
        if family == "palm":
            angle = torch.outer(place, 10000.0 ** (-torch.arange(0, size, 2) / size))
            self.places = (angle.cos(), angle.sin())
        else:
            slopes = torch.tensor([2.0 ** (-8.0 * (i + 1) / heads) for i in range(heads)])
            distance = place[None, :] - place[:, None]
            bias = (slopes[:, None, None] * distance).masked_fill(distance > 0, float("-inf"))
            self.places = bias[None]
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def to(self, device):
        self.places = tuple(p.to(device) for p in self.places) if isinstance(self.places, tuple) else self.places.to(device)
        return super().to(device)

    def forward(self, ids, targets):
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, self.places)
        logits = self.norm(x) @ self.embedding.weight.T
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def main():
    family, *sizes = sys.argv[1:10]
    vocabulary, width, layers, heads, size, tokens, sequences, steps = map(int, sizes)
    options = sys.argv[10:]
    device = "cuda" if "cuda" in options else "cpu"
    torch.manual_seed(0)
    if "tf32" in options:
        torch.set_float32_matmul_precision("high")
    model = Model(family, vocabulary, width, layers, heads, size, tokens).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    run = torch.compile(model) if "compile" in options else model
    ids, targets = (torch.randint(0, vocabulary, (sequences, tokens), device=device) for _ in range(2))
    best = [math.inf, math.inf]
    for step in range(steps + 1):
        start, processor = time.perf_counter(), time.process_time()
        with torch.autocast(device, torch.bfloat16, enabled="bf16" in options):
            loss = run(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()
        if step > 0:
            best = [min(best[0], time.perf_counter() - start), min(best[1], time.process_time() - processor)]
    peak = torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    count = tokens * sequences
    print(json.dumps({"tokens_per_second": count / best[0], "tokens_per_cpu_second": count / best[1], "peak_mb": peak, "torch": torch.__version__}))


main()
