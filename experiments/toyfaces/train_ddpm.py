"""Train the bundled ToyFaces diffusion model. Resumes from its last checkpoint.

    python experiments/toyfaces/train_ddpm.py --steps 19000 --out runs/toyfaces/ddpm

Writes ``OUT/last.pt`` (to resume) every few minutes and a diffusers folder of the averaged
weights, ``OUT/model``. Why this architecture and this schedule: see the model card.
"""

import argparse
import json
import os
import resource
import time
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

from hsl.backbones.schedule import Schedule
from hsl.data.toyfaces.factors import WORLDS, sample
from hsl.data.toyfaces.renderer import render

SNR_SHIFT = 32.0


def unet(size: int) -> UNet2DModel:
    """A U-Net with a narrow top and a wide bottleneck at size / 4, behind space-to-depth by 2."""
    return UNet2DModel(
        sample_size=size // 2,
        in_channels=12,
        out_channels=12,
        block_out_channels=(64, 192) if size == 32 else (64, 128, 256),
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * (1 if size == 32 else 2) + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (1 if size == 32 else 2),
        norm_num_groups=16,
        attention_head_dim=None,
    )


def faces(n: int, size: int) -> Tensor:
    """Training faces as uint8 ``[n, 3, size, size]``, rendered once."""
    out = torch.empty(n, 3, size, size, dtype=torch.uint8)
    for start in range(0, n, 1024):
        indices = range(start, min(start + 1024, n))
        images = render(sample(indices, WORLDS["train"]), size)
        out[start : start + 1024] = ((images + 1) * 127.5).round().to(torch.uint8)
    return out


def main() -> None:
    """Train for ``--steps`` and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=32, choices=(32, 64))
    parser.add_argument("--steps", type=int, default=19_000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("runs/toyfaces/ddpm"))
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)

    model = unet(args.size).to(device, memory_format=torch.channels_last)
    average = unet(args.size).to(device).requires_grad_(False)
    average.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), args.lr, betas=(0.9, 0.99), fused=True)
    step, seconds = 0, 0.0
    last = args.out / "last.pt"
    if last.exists():
        saved = torch.load(last, weights_only=True, map_location=device)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step, seconds = saved["step"], saved["seconds"]

    schedule = Schedule.linear().shifted(SNR_SHIFT)
    alpha_bar = schedule.alphas_cumprod.float().to(device)
    data = faces(args.images, args.size)
    started, losses = time.perf_counter(), []
    while step < args.steps:
        rng = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
        rows = torch.randint(len(data), (args.batch,), generator=rng)
        strata = (torch.rand(args.batch, generator=rng) + torch.arange(args.batch)) / args.batch
        t = (strata * 1000).long().clamp(max=999).to(device)
        x_0 = pixel_unshuffle(data[rows].to(device).float() / 127.5 - 1, 2)
        noise = torch.randn(x_0.shape, generator=rng).to(device)
        a = alpha_bar[t][:, None, None, None]
        x_t = (a.sqrt() * x_0 + (1 - a).sqrt() * noise).contiguous(
            memory_format=torch.channels_last
        )
        weight = (1 - a).sqrt()  # (1 + SNR)^-0.5: steps of little noise count less
        loss = (weight * (model(x_t, t).sample - noise) ** 2).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate = args.lr * min((step + 1) / 300, 1.0) * max(1 - step / args.steps, 0.0)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        decay = min(args.ema, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
        losses.append(loss.item())
        step += 1
        if step % args.every == 0 or step == args.steps:
            now = seconds + time.perf_counter() - started
            mean = sum(losses) / len(losses)
            losses.clear()
            print(f"step {step}/{args.steps} loss {mean:.4f} seconds {now:.0f}", flush=True)
            state = {
                "model": model.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
                "seconds": now,
            }
            torch.save(state, last.with_suffix(".tmp"))
            os.replace(last.with_suffix(".tmp"), last)
            export(average, schedule, args, now)


def export(average: UNet2DModel, schedule: Schedule, args: argparse.Namespace, s: float) -> None:
    """Write the diffusers folder and ``training.json``."""
    folder = args.out / "model"
    average.save_pretrained(folder / "unet")
    scheduler = DDPMScheduler(
        trained_betas=[float(f"{b:.12g}") for b in schedule.betas.tolist()], clip_sample=False
    )
    scheduler.save_pretrained(folder / "scheduler")
    about = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
    about |= {
        "seconds": round(s),
        "threads": torch.get_num_threads(),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "parameters": sum(p.numel() for p in average.parameters()),
        "world": WORLDS["train"],
        "snr_shift": SNR_SHIFT,
    }
    (args.out / "training.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
