#!/usr/bin/env python3
"""Trains small PaLM- and MPT-style models with PyTorch and writes the loss and gradient norm of each step to losses.json.

    python losses.py            (torch and xxhash; the file says which versions made it)

The architectures are written here from their descriptions (conceftofmind/PaLM, MosaicML's MPT), the optimizer is torch's own. First
values and batches are those of the trainer, by its generator of random numbers (trainer/src/random.rs), so that no weights
have to be kept. `trainer/tests/oracle.rs` trains the same and compares. Each case is trained once more with a fault planted, which the
comparison must notice.
"""

import json
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
import xxhash

MASK = (1 << 64) - 1
GOLDEN = 0x9E37_79B9_7F4A_7C15


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & MASK
    return z ^ (z >> 31)


class Stream:
    """An addressable sequence of random numbers."""

    def __init__(self, seed, name):
        self.key = mix(mix((seed + GOLDEN) & MASK) ^ xxhash.xxh3_64_intdigest(name.encode()))

    def bits(self, counter):
        return mix((self.key + counter * GOLDEN) & MASK)

    def uniform(self, counter):
        return (self.bits(counter) >> 11) / (1 << 53)

    def normal(self, counter):
        radius = math.sqrt(-2.0 * math.log(1.0 - self.uniform(2 * counter)))
        return radius * math.cos(2.0 * math.pi * self.uniform(2 * counter + 1))


CASES = {
    # PaLM's block, odd lengths, several micro-batches, a norm above the limit.
    "palm": dict(family="palm", vocabulary=128, width=32, layers=2, heads=4, head=8, norm="layer", positions="rotary", tokens=37, sequences=3, micro=2),
    "palm-rms-xpos": dict(family="palm", vocabulary=128, width=32, layers=2, heads=4, head=8, norm="rms", positions="xpos", tokens=37, sequences=3, micro=2),
    # More rows than logits exist for at one time, more positions than a tile and a block have.
    "palm-long": dict(family="palm", vocabulary=192, width=32, layers=2, heads=2, head=16, norm="layer", positions="rotary", tokens=300, sequences=2, micro=1),
    "mpt": dict(family="mpt", vocabulary=128, width=48, layers=2, heads=6, head=8, norm="layer", positions="alibi", tokens=37, sequences=3, micro=2),
    # The matrices of blocks by Muon, the others by AdamW at another rate.
    "palm-muon": dict(family="palm", vocabulary=128, width=32, layers=2, heads=4, head=8, norm="layer", positions="rotary", tokens=37, sequences=3, micro=2, muon="original", adamw_rate=0.5),
    "mpt-muon": dict(family="mpt", vocabulary=128, width=48, layers=2, heads=6, head=8, norm="layer", positions="alibi", tokens=37, sequences=3, micro=2, muon="match-adamw", adamw_rate=1.0),
    "mpt-long": dict(family="mpt", vocabulary=128, width=32, layers=2, heads=2, head=16, norm="layer", positions="alibi", tokens=300, sequences=2, micro=1),
}
# What is planted, and where it can be noticed.
FAULTS = {
    "epsilon-outside-root": ["palm", "palm-rms-xpos", "mpt"],
    "decay-on-norms": ["palm", "mpt"],
    "interleaved-rotary": ["palm", "palm-long"],
    "slopes-off-by-one": ["mpt", "mpt-long"],
    "tanh-gelu": ["mpt"],
    "mean-kept": ["palm"],
    "plain-momentum": ["palm-muon", "mpt-muon"],
    "four-iterations": ["palm-muon", "mpt-muon"],
}
STEPS, WARMUP, RATE, FINAL = 20, 4, 3e-3, 0.1
BETAS, EPSILON, DECAY, CLIP = (0.9, 0.95), 1e-8, 0.1, 0.7
NORM_EPSILON = 1e-5


def shapes(c):
    """Name, role and shape of each parameter, as trainer/src/model/config.rs has them."""
    d, q = c["width"], c["heads"] * c["head"]
    k = c["head"] if c["family"] == "palm" else q
    yield "embedding.weight", "embedding", (c["vocabulary"], d)
    for layer in range(c["layers"]):
        at = f"layers.{layer}."
        yield at + "norm.gain", "gain", (d,)
        yield at + "query.weight", "matrix", (q, d)
        yield at + "key.weight", "matrix", (k, d)
        yield at + "value.weight", "matrix", (k, d)
        yield at + "attention_out.weight", "residual", (d, q)
        if c["family"] == "palm":
            yield at + "up_gate.weight", "matrix", (8 * d, d)
        else:
            yield at + "second_norm.gain", "gain", (d,)
            yield at + "up.weight", "matrix", (4 * d, d)
        yield at + "down.weight", "residual", (d, 4 * d)
    yield "norm.gain", "gain", (d,)


def first_values(c, name, role, shape):
    stream, count = Stream(1, name), math.prod(shape)
    if role == "gain":
        return torch.ones(shape)
    if c["family"] == "mpt":
        deviation = math.sqrt(2.0 / shape[-1]) / (math.sqrt(2.0 * c["layers"]) if role == "residual" else 1.0)
        numbers = [deviation * stream.normal(i) for i in range(count)]
    elif role == "embedding":
        numbers = [0.02 * stream.normal(i) for i in range(count)]
    else:
        numbers = [shape[-1] ** -0.5 * (2.0 * stream.uniform(i) - 1.0) for i in range(count)]
    return torch.tensor(numbers, dtype=torch.float64).to(torch.float32).reshape(shape)


def norm(c, x, gain, fault):
    mean = x.mean(-1, keepdim=True) if c["norm"] == "layer" and fault != "mean-kept" else 0.0
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    if fault == "epsilon-outside-root":
        return (x - mean) / (variance.sqrt() + NORM_EPSILON) * gain
    return (x - mean) / (variance + NORM_EPSILON).sqrt() * gain


def rotated(c, x, power, fault):
    """x (B, T, heads, n)."""
    t, n = x.shape[1], x.shape[3]
    place = torch.arange(t, dtype=torch.float64)
    j = torch.arange(n // 2, dtype=torch.float64)
    angle = torch.outer(place, 10000.0 ** (-2.0 * j / n))
    scale = torch.ones(t, n // 2, dtype=torch.float64)
    if c["positions"] == "xpos":
        scale = ((2 * j + 0.4 * n) / (1.4 * n)) ** (power * (place[:, None] - t // 2) / 512.0)
    cos, sin = ((part * scale).float()[None, :, None, :] for part in (angle.cos(), angle.sin()))
    if fault == "interleaved-rotary":
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
    a, b = x[..., : n // 2], x[..., n // 2 :]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def slopes(heads, fault):
    power = 1 << (heads - 1).bit_length()
    first = 0 if fault == "slopes-off-by-one" else 1
    all_slopes = [2.0 ** (-8.0 * (i + first) / power) for i in range(power)]
    if power != heads:
        all_slopes = (all_slopes[1::2] + all_slopes[0::2])[:heads]
    return torch.tensor(all_slopes, dtype=torch.float64)


def attended(c, q, k, v, fault):
    b, t = q.shape[:2]
    q = q.view(b, t, c["heads"], c["head"])
    k, v = (x.view(b, t, -1, c["head"]) for x in (k, v))
    if c["positions"] != "alibi":
        q, k = rotated(c, q, 1.0, fault), rotated(c, k, -1.0, fault)
    k, v = (x.expand(b, t, c["heads"], c["head"]) for x in (k, v))
    scores = torch.einsum("bthn,bshn->bhts", q, k) / math.sqrt(c["head"])
    place = torch.arange(t)
    distance = place[None, :] - place[:, None]
    if c["positions"] == "alibi":
        scores = scores + (slopes(c["heads"], fault)[:, None, None] * distance).float()
    scores = scores.masked_fill(distance > 0, float("-inf"))
    return torch.einsum("bhts,bshn->bthn", scores.softmax(-1), v).reshape(b, t, -1)


def hidden(c, p, ids, fault):
    x = p["embedding.weight"][ids]
    for layer in range(c["layers"]):
        of = lambda name: p[f"layers.{layer}.{name}"]
        h = norm(c, x, of("norm.gain"), fault)
        q, k, v = (h @ of(f"{name}.weight").T for name in ("query", "key", "value"))
        out = attended(c, q, k, v, fault) @ of("attention_out.weight").T
        if c["family"] == "palm":
            up, gate = (h @ of("up_gate.weight").T).chunk(2, -1)
            x = x + out + (up * F.silu(gate)) @ of("down.weight").T
        else:
            x = x + out
            h = norm(c, x, of("second_norm.gain"), fault)
            a = F.gelu(h @ of("up.weight").T, approximate="tanh" if fault == "tanh-gelu" else "none")
            x = x + a @ of("down.weight").T
    return norm(c, x, p["norm.gain"], fault)


def rate(step):
    if step < WARMUP:
        return RATE * (step + 1) / WARMUP
    part = min((step - WARMUP + 1) / (STEPS - WARMUP), 1.0)
    return RATE * (FINAL + (1.0 - FINAL) * 0.5 * (1.0 + math.cos(math.pi * part)))


def orthogonal(grad, coefficients, steps, eps):
    """What torch.optim.Muon has in bfloat16, in double precision."""
    a, b, c = coefficients
    x = grad.double() / grad.double().norm().clamp(min=eps)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.to(grad.dtype)


torch.optim._muon._zeropower_via_newtonschulz = orthogonal


def optimizers_of(c, matrices, groups, fault):
    """Optimizers, each with the part of the rate that its groups have."""
    adamw = dict(lr=RATE, betas=BETAS, eps=EPSILON)
    if "muon" not in c:
        return [(torch.optim.AdamW(groups, **adamw), 1.0)]
    adjust = {"original": "original", "match-adamw": "match_rms_adamw"}[c["muon"]]
    nesterov, steps = fault != "plain-momentum", 4 if fault == "four-iterations" else 5
    muon = torch.optim.Muon(matrices, lr=RATE, weight_decay=DECAY, momentum=0.95, nesterov=nesterov, ns_steps=steps, adjust_lr_fn=adjust)
    return [(muon, 1.0), (torch.optim.AdamW(groups[1:], **adamw), c["adamw_rate"])]


def train(c, fault=None):
    p = {name: first_values(c, name, role, shape).requires_grad_() for name, role, shape in shapes(c)}
    decayed = [p[name] for name, role, _ in shapes(c) if role in ("matrix", "residual") or (role == "gain" and fault == "decay-on-norms")]
    others = [x for x in p.values() if not any(x is y for y in decayed)]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizers = optimizers_of(c, decayed, groups, fault)
    stream, counter, losses, norms = Stream(1, "batches"), 0, [], []
    for step in range(STEPS):
        batches = []
        for _ in range(c["micro"]):
            count = c["sequences"] * (c["tokens"] + 1)
            ids = torch.tensor([stream.bits(counter + i) % c["vocabulary"] for i in range(count)]).view(c["sequences"], -1)
            counter += count
            # Every seventh target carries no loss.
            trained = torch.tensor([(counter + i) % 7 != 0 for i in range(c["sequences"] * c["tokens"])])
            batches.append((ids, trained))
        total = sum(int(trained.sum()) for _, trained in batches)
        for x in p.values():
            x.grad = None
        loss = 0.0
        for ids, trained in batches:
            logits = hidden(c, p, ids[:, :-1], fault) @ p["embedding.weight"].T
            nats = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
            part = (nats * trained).sum() / total
            part.backward()
            loss += part.item()
        norms.append(float(torch.nn.utils.clip_grad_norm_(p.values(), CLIP)))
        for optimizer, part in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = part * rate(step)
            optimizer.step()
        losses.append(loss)
    return {"losses": losses, "norms": norms}


def main():
    torch.set_num_threads(1)
    settings = dict(steps=STEPS, warmup=WARMUP, rate=RATE, final=FINAL, betas=BETAS, epsilon=EPSILON, decay=DECAY, clip=CLIP)
    result = {"made_by": f"torch {torch.__version__}", "settings": settings, "cases": {}}
    for name, case in CASES.items():
        print(name, file=sys.stderr)
        faults = {fault: train(case, fault)["losses"] for fault, cases in FAULTS.items() if name in cases}
        result["cases"][name] = {"case": case, **train(case), "faults": faults}
    path = Path(__file__).with_name("losses.json")
    path.write_text(json.dumps(result, indent=1) + "\n")


main()
