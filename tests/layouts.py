"""Data sets of a few tiny images, in the layouts that people have them in."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, Features
from datasets import Image as HubImage
from datasets import Value as HubValue
from PIL import Image

from hsl.data.celeba import ATTRIBUTES, MAPPING, PARTITION


def picture(number: int, size: int = 16) -> Image.Image:
    """Noise that is the same for the same number."""
    rng = np.random.default_rng(number)
    return Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8))


def save(path: Path, number: int, size: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(number, size).save(path)
    return path


def png(number: int, size: int = 16) -> bytes:
    file = io.BytesIO()
    picture(number, size).save(file, "PNG")
    return file.getvalue()


def values(number: int) -> list[int]:
    """40 labels in {0, 1} that tell images apart."""
    return np.random.default_rng([7, number]).integers(0, 2, 40).tolist()


def attribute_text(
    files: Sequence[str], numbers: Sequence[int], count: bool = True, names: bool = True
) -> str:
    """An attribute file as CelebAMask-HQ has it: two spaces after a file's name."""
    head = [str(len(files))] * count + [" ".join(ATTRIBUTES)] * names
    rows = [
        f"{file}  " + " ".join("1" if v else "-1" for v in values(number))
        for file, number in zip(files, numbers, strict=True)
    ]
    return "\n".join([*head, *rows]) + "\n"


def celebamask(
    root: Path, n: int = 8, size: int = 16, mapping: Sequence[int] = (), header: bool = True
) -> Path:
    """CelebAMask-HQ with images 0.jpg ... (as PNG content of another suffix would be: JPEG), and
    masks that are no images of faces; ``mapping``: CelebA's number of each image."""
    for i in range(n):
        save(root / "CelebA-HQ-img" / f"{i}.jpg", i, size)
        save(root / "CelebAMask-HQ-mask-anno" / "0" / f"{i:05d}_skin.png", i, size)
    files = [f"{i}.jpg" for i in range(n)]
    text = attribute_text(files, range(n), header, header)
    (root / "CelebAMask-HQ-attribute-anno.txt").write_text(text)
    if mapping:
        lines = ["idx      orig_idx    orig_file"]
        lines += [f"{i}\t{m - 1}\t{m:06d}.jpg" for i, m in enumerate(mapping)]
        (root / MAPPING).write_text("\n".join(lines) + "\n")
    return root


def celeba(root: Path, numbers: Sequence[int], partition: bool = True) -> Path:
    """CelebA: img_align_celeba/000001.jpg ..., list_attr_celeba.txt, list_eval_partition.txt, the
    last with every third image in each split."""
    files = [f"{i:06d}.jpg" for i in numbers]
    for i, file in zip(numbers, files, strict=True):
        save(root / "img_align_celeba" / file, i)
    (root / "list_attr_celeba.txt").write_text(attribute_text(files, numbers))
    if partition:
        lines = [f"{file} {i % 3}" for i, file in zip(numbers, files, strict=True)]
        (root / PARTITION).write_text("\n".join(lines) + "\n")
    return root


def hub(root: Path, splits: dict[str, Sequence[int]], kind: str = "none") -> Path:
    """A data set in Parquet as the Hub has them; ``kind``: ``none``, ``celeba`` (40 columns of
    truth values and an identity) or ``classes`` (cat, dog, wild)."""
    for split, numbers in splits.items():
        images = [{"bytes": png(i), "path": f"{i}.png"} for i in numbers]
        columns, features = {"image": images}, {"image": HubImage()}
        if kind == "celeba":
            columns["celeb_id"] = list(numbers)
            features["celeb_id"] = HubValue("int64")
            for column, name in enumerate(ATTRIBUTES):
                columns[name] = [bool(values(i)[column]) for i in numbers]
                features[name] = HubValue("bool")
        elif kind == "classes":
            columns["label"] = [i % 3 for i in numbers]
            features["label"] = ClassLabel(names=["cat", "dog", "wild"])
        path = root / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        Dataset.from_dict(columns, features=Features(features)).to_parquet(path)
    return root
