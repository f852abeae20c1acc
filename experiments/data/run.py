"""How fast 30,000 images are indexed, the first time and later, and read, against how fast a
40-step inversion by the bundled backbone takes them.

    python experiments/data/run.py [--images 30000] [--folder DIR]

writes images of 256 pixels as JPEG, measures, and writes RESULTS.md beside this file.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hsl.backbones import load
from hsl.data.folder import ImagesDataModule
from hsl.data.toyfaces import ToyFaces
from hsl.files import replacing
from hsl.process import invert, last
from hsl.progress import track
from hsl.tables import markdown

SIDE = 256
TEXT = """# Reading images

    python experiments/data/run.py --images {images}

{images} JPEGs of 256 pixels, {kilobytes:.0f} KB on average, read for a backbone of 32 pixels;
{threads} thread(s) for the backbone, {cores} cores of {machine}, which other work shared.
Indexing looks at every file: the first time its content is hashed and decoded to its end; after
that it is known by its size and time of change. Reading decodes and resizes; the images lie in the
system's file cache. An inversion is 40 steps of the bundled diffusion model, 64 images at once.

{table}"""


def write(folder: Path, n: int) -> None:
    """Faces with the grain of a photograph, so that a file has the size that one has."""
    rng = np.random.default_rng(0)
    faces = ToyFaces("train", 512, 64).images
    grain = rng.normal(0, 6, (4 * SIDE, 4 * SIDE, 3))
    for i in track(range(n), "writing", n):
        pixels = (faces[i % len(faces)].permute(1, 2, 0).numpy() + 1) * 127.5
        large = Image.fromarray(pixels.astype(np.uint8)).resize((SIDE, SIDE))
        y, x = rng.integers(0, 3 * SIDE, 2)
        grained = np.asarray(large) + grain[y : y + SIDE, x : x + SIDE]
        path = folder / f"{i // 1000:02d}" / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(grained.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def data(folder: Path, **arguments: int) -> ImagesDataModule:
    """All images of the folder, at the size of the bundled backbone."""
    every = {"train": None, "validation": None, "test": None}
    return ImagesDataModule(str(folder), **every, **({"size": 32, "batch_size": 64} | arguments))


def read(folder: Path, workers: int, n: int) -> float:
    """Images a second, from the first batch on."""
    batches = iter(data(folder, num_workers=workers).train_dataloader())
    next(batches)
    taken = 0
    start = time.perf_counter()
    for batch in batches:
        taken += len(batch.image)
        if taken >= n:
            break
    return taken / (time.perf_counter() - start)


def inverted(batch: int = 64) -> float:
    """Images a second by the bundled backbone."""
    backbone = load("toyfaces")
    grid, x_0 = backbone.schedule.grid(40), backbone.x_0(ToyFaces("test", batch).images)
    last(invert(backbone, x_0, grid[:2]))
    return batch / seconds(lambda: last(invert(backbone, x_0, grid)))


def measure(folder: Path, n: int) -> list[dict[str, object]]:
    """One row a figure."""
    first = seconds(lambda: data(folder).sets())
    later = min(seconds(lambda: data(folder).sets()) for _ in range(3))
    rows: list[dict[str, object]] = [
        {"figure": f"{n} images indexed for the first time", "value": first, "unit": "s"},
        {"figure": f"{n} images indexed again", "value": later, "unit": "s"},
    ]
    for workers in (0, 1, 2):
        speed = read(folder, workers, min(n // 2, 4000))
        rows.append({"figure": f"read, {workers} workers", "value": speed, "unit": "images/s"})
    speed = inverted()
    return [*rows, {"figure": "inverted in 40 steps", "value": speed, "unit": "images/s"}]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=30_000)
    parser.add_argument("--folder", type=Path, help="where images lie already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["HSL_CACHE"] = f"{temporary}/cache"
        folder = options.folder or Path(temporary) / "images"
        if not folder.exists():
            folder.mkdir(parents=True)
            write(folder, options.images)
        sizes = [path.stat().st_size for path in folder.rglob("*.jpg")]
        text = TEXT.format(
            images=len(sizes),
            kilobytes=np.mean(sizes) / 1000,
            threads=torch.get_num_threads(),
            cores=os.cpu_count(),
            machine=platform.machine(),
            table=markdown(measure(folder, len(sizes))),
        )
        with replacing(Path(__file__).with_name("RESULTS.md")) as temporary_file:
            temporary_file.write_text(text, "utf-8")
        print(text)


if __name__ == "__main__":
    main()
