"""What the options of `hsl.backbones.Speed` and the two decodes in one batch are worth here.

    python experiments/speed/options.py

Writes OPTIONS.md beside this file. Minutes, most of them torch.compile's.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hsl.backbones import PLAIN, Backbone, Bottleneck, Speed, load
from hsl.directions import commit
from hsl.files import replacing
from hsl.tables import markdown

TEXT = """# Options of speed

    python experiments/speed/options.py

Commit {commit}; {threads} thread(s) of a CPU; torch {torch}; ToyFaces' bundled U-Net. Times are the
CPU's, since other work may run at the same time, and the least of several runs that take turns;
that of the first pass, with what an earlier run has not compiled yet, is on the wall.

## Two decodes in one batch

Where no gradient is wanted, an asymmetric step may decode h and the edited h as one batch.
`hsl.process.injection` does so on a CPU up to 2 images, and on other devices always, where one pass
of twice the batch has half the launches; that was not measured, for want of a GPU.

{decodes}
## Options

`Speed` (`--model.speed.bfloat16 true`, ...). "pass": encode and decode of 1 and of 16 images; "with
gradients": a pass of 16 and the backward pass to h; "kept": activations that wait for it.

{options}
bfloat16 pays where the hardware multiplies in it (avx512_bf16 or amx on a CPU): {bf16} here.
`compile` fuses what lies between the convolutions. `checkpoint` costs one more decode for the
memory that it saves.
"""

OPTIONS = {
    "float32": PLAIN,
    "bfloat16": Speed(bfloat16=True),
    "channels_last": Speed(channels_last=True),
    "compile": Speed(compile=True),
    "checkpoint": Speed(checkpoint=True),
}


def fastest(jobs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Milliseconds of the CPU that each takes: the least of some repeats that take turns."""
    best = dict.fromkeys(jobs, float("inf"))
    for i in range(repeats + 1):
        for name, job in jobs.items():
            start = time.process_time()
            job()
            took = time.process_time() - start
            best[name] = min(best[name], took) if i else best[name]
    return {name: 1000 * seconds for name, seconds in best.items()}


def images(net: Backbone, n: int) -> torch.Tensor:
    """Noise as x_t."""
    return torch.randn(n, *net.x_shape, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def decodes(net: Backbone) -> list[dict[str, Any]]:
    """Two decodes of B images one after the other, and as one batch of 2 B."""
    rows = []
    for n in (1, 2, 4, 8, 16, 32):
        b = net.encode(images(net, n), 500)
        edited = b._replace(h=b.h + 0.1)

        def together(b: Bottleneck = b, edited: Bottleneck = edited) -> torch.Tensor:
            both = (torch.cat([a, c]) for a, c in zip(b[:2], edited[:2], strict=True))
            return net.decode(Bottleneck(*both, tuple(torch.cat([s, s]) for s in b.skips)))

        def apart(b: Bottleneck = b, edited: Bottleneck = edited) -> torch.Tensor:
            return torch.cat([net.decode(b), net.decode(edited)])

        ms = fastest({"apart": apart, "together": together}, 10)
        rows.append({
            "images": n,
            "two decodes (ms)": ms["apart"],
            "one of twice the batch (ms)": ms["together"],
            "ratio": ms["together"] / ms["apart"],
            "largest difference": float((apart() - together()).abs().max()),
        })  # fmt: skip
    return rows


def option_rows() -> list[dict[str, Any]]:
    """Time and outcome of each option, at 1 and at 16 images."""
    nets = {name: load("toyfaces").run_with(speed) for name, speed in OPTIONS.items()}
    x = images(nets["float32"], 16)
    with torch.no_grad():
        wanted = nets["float32"].decode(nets["float32"].encode(x, 500))
    rows: dict[str, dict[str, Any]] = {}
    for name, net in nets.items():
        start = time.perf_counter()
        with torch.no_grad():
            eps = net.decode(net.encode(x, 500))
        first = time.perf_counter() - start
        rows[name] = {
            "option": name,
            "first pass (s)": first,
            "difference of eps": float((eps - wanted).norm() / wanted.norm()),
        }
    for n in (1, 16):
        passes = {name: lambda net=net, n=n: forward(net, x[:n]) for name, net in nets.items()}
        for name, ms in fastest(passes, 10).items():
            rows[name][f"pass, {n} (ms)"] = ms
    steps = {name: lambda net=net: backward(net, x) for name, net in nets.items()}
    for name, ms in fastest(steps, 5).items():
        rows[name] |= {"with gradients, 16 (ms)": ms, "kept (MB)": kept(nets[name], x) / 1e6}
    return list(rows.values())


@torch.no_grad()
def forward(net: Backbone, x: torch.Tensor) -> torch.Tensor:
    """A pass through the U-Net."""
    return net.decode(net.encode(x, 500))


def backward(net: Backbone, x: torch.Tensor) -> None:
    """A pass, and a backward pass to h."""
    b = net.encode(x, 500)
    net.decode(b._replace(h=b.h.detach().requires_grad_())).sum().backward()


def kept(net: Backbone, x: torch.Tensor) -> float:
    """Bytes of activations that a decode keeps for its backward pass, without the weights."""
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    b = net.encode(x, 500)
    edited = b._replace(h=b.h.detach().requires_grad_())
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = net.decode(edited)  # held, so that no address is given twice
    found = sum(n for pointer, n in sizes.items() if pointer not in weights)
    del out
    return float(found)


def main() -> None:
    """Measure and write."""
    text = TEXT.format(
        commit=commit(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        bf16="it does" if torch.cpu._is_avx512_bf16_supported() else "it does not",
        decodes=markdown(decodes(load("toyfaces"))),
        options=markdown(option_rows()),
    )
    with replacing(Path(__file__).with_name("OPTIONS.md")) as temporary:
        temporary.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
