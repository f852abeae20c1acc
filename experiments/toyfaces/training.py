"""The loop, the figures and the card that the small networks' scripts share."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ASSETS = Path("hsl/assets/toyfaces")
#: What the small networks are for: others' images are refused, or not measured.
SUITS = {"domain": "toyfaces", "size": 32}
Loss = Callable[[int, torch.Generator], Tensor]


def fit(network: nn.Module, loss: Loss, steps: int, lr: float, seed: int) -> float:
    """Minimise ``loss(step, rng)`` with AdamW, warm-up and a cosine to zero; seconds it took."""
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr, betas=(0.9, 0.99), weight_decay=0.01)
    started, total = time.perf_counter(), 0.0
    for step in range(steps):
        rate = lr * min((step + 1) / 100, 1.0) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        value = loss(step, rng)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        total += value.item()
        if (step + 1) % 100 == 0:
            took = time.perf_counter() - started
            print(f"step {step + 1}/{steps} loss {total / 100:.4f} seconds {took:.0f}", flush=True)
            total = 0.0
    return time.perf_counter() - started


@torch.no_grad()
def in_chunks(function: Callable[[Tensor], Tensor], inputs: Tensor, size: int = 500) -> Tensor:
    """``function`` of all ``inputs``, a chunk at a time, without gradients."""
    return torch.cat([function(inputs[i : i + size]) for i in range(0, len(inputs), size)])


def balanced_accuracy(predicted: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of the true positive and true negative rates, ``[R, A]``, of ``predicted`` and
    ``truth [N, A]`` in {0, 1}, with each image counted ``weights [R, N]`` times."""
    w = torch.ones(1, len(truth)) if weights is None else weights
    present, absent = truth.float(), 1 - truth.float()
    right = (predicted == truth).float()
    hits = (w @ (right * present)) / (w @ present)
    passes = (w @ (right * absent)) / (w @ absent)
    return (hits + passes) / 2


def spread(predicted: Tensor, truth: Tensor, seed: int = 0) -> tuple[float, float, float]:
    """Mean balanced accuracy over attributes with its 95% bootstrap interval over images."""
    rng = torch.Generator().manual_seed(seed)
    n = len(truth)
    rows = torch.randint(n, (500, n), generator=rng)
    weights = torch.zeros(500, n).scatter_add_(1, rows, torch.ones(500, n))
    means = balanced_accuracy(predicted, truth, weights).mean(1)
    low, high = (float(means.quantile(q)) for q in (0.025, 0.975))
    return float(balanced_accuracy(predicted, truth).mean()), low, high


def milliseconds(network: nn.Module, encode: Callable[[Tensor], Tensor], size: int = 32) -> float:
    """Time of one image's forward and backward pass to the image, the median of 100 (the other
    core of the machine may be busy)."""
    image = torch.zeros(1, 3, size, size, requires_grad=True)
    times = []
    for _ in range(100):
        started = time.perf_counter()
        encode(image).sum().backward()
        times.append(time.perf_counter() - started)
    return 1000 * sorted(times)[50]


def card(path: Path, title: str, config: dict[str, Any], body: str) -> None:
    """Write the model card beside ``path``: how it was made, then ``body``."""
    made = config["training"]
    kept = {k: v for k, v in config.items() if k not in ("training", "words", "names", "layers")}
    text = (
        f"# {title}\n\n"
        f"Weights: `{path.name}` (float16, {path.stat().st_size / 1e6:.2f} MB).\n"
        f"Role: **{config['role']}**.\n\n"
        f"Command: `{made['command']}`\n\n"
        f"Took {made['seconds']} s for the training loop, on 1 thread of a 2-core CPU.\n\n"
        f"Data: {made['data']}\n\n{body}\n\n"
        f"Configuration: `{json.dumps(kept)}`\n"
    )
    path.with_suffix(".md").write_text(text)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
