"""CLIP: small ones of a few words, and any that open_clip can load."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from hsl.bundled import BUNDLED
from hsl.encoders.roles import Role
from hsl.encoders.tokens import WordTokenizer
from hsl.encoders.tower import Tower
from hsl.encoders.weights import build, freeze, locate, read, suits
from hsl.errors import HslError
from hsl.hub import limited

if TYPE_CHECKING:  # open_clip takes seconds to import: it is where a CLIP is loaded
    import open_clip

KIND = "clip"


class Clip(nn.Module):
    """A frozen CLIP. ``role``: guide or judge; ``domain`` and ``size``: the images that it is for
    (`hsl.encoders.roles`), which for those of open_clip are any.

    Args:
        model: an open_clip ``CLIP``.
        tokenize: texts -> token numbers.
        role: guide or judge.
        preprocess: open_clip's ``size``, ``mean``, ``std`` and ``interpolation``; None for a
            small CLIP, which takes images as they are.
        antialias: whether shrinking an image smooths it first (the papers' torchvision did not).
    """

    domain: str | None = None
    size: int | None = None

    def __init__(
        self,
        model: nn.Module,
        tokenize: Callable[[list[str]], Tensor],
        role: Role,
        preprocess: dict[str, Any] | None = None,
        antialias: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenize = tokenize
        self.role: Role = role
        self.preprocess = preprocess
        self.antialias = antialias

    def encode_image(self, images: Tensor) -> Tensor:
        """Features ``[B, D]``, not normalised, of images ``[B, 3, S, S]`` in [-1, 1];
        differentiable with respect to ``images``, which are not clamped."""
        features: Tensor = self.model.encode_image(self._prepared(images).to(self.dtype))  # type: ignore[operator]
        return features

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights: a trainer's precision may have cast them."""
        return next((p.dtype for p in self.model.parameters()), torch.float32)

    def encode_text(self, texts: list[str]) -> Tensor:
        """Features ``[N, D]``, not normalised.

        Raises:
            HslError: a small CLIP does not know a word, or a text is too long for it.
        """
        device = next(self.model.parameters()).device
        tokens = self.tokenize(texts).to(device)
        features: Tensor = self.model.encode_text(tokens)  # type: ignore[operator]
        return features

    def _prepared(self, images: Tensor) -> Tensor:
        """(x + 1) / 2, resize, crop, normalise: what CLIP was trained with, on tensors."""
        if self.preprocess is None:
            return images
        from torchvision.transforms.v2 import functional as tv

        size, how = self.preprocess["size"], self.preprocess["interpolation"]
        side = size if isinstance(size, int) else size[0]
        x: Tensor = tv.resize(
            (images + 1) / 2, [side], tv.InterpolationMode(how), antialias=self.antialias
        )
        x = tv.center_crop(x, [side, side])
        x = tv.normalize(x, list(self.preprocess["mean"]), list(self.preprocess["std"]))
        return x

    @classmethod
    def load(
        cls, name: str, role: Role = "guide", antialias: bool = True, resize: bool = False
    ) -> Self:
        """A frozen CLIP in eval mode.

        Args:
            name: a bundled small one (`hsl.bundled`), the path of such a ``.safetensors`` file, or
                ``ARCHITECTURE/WEIGHTS`` of open_clip, where WEIGHTS is a tag or a local file:
                ``ViT-B-16-quickgelu/openai`` (OpenAI's weights are QuickGELU).
            role: of an open_clip model; a small CLIP has its own.
            antialias: see the class.
            resize: let a small CLIP take images of other sizes than its own, resized.

        Raises:
            HslError: an unknown name, a damaged file, or no network to download from.
        """
        import open_clip

        architecture, _, weights = name.partition("/")
        if weights and architecture in open_clip.list_models():
            return cls._open_clip(architecture, weights, role, antialias)
        if not name.endswith(".safetensors") and architecture != BUNDLED.folder:
            raise HslError(
                f"{name}: unknown CLIP; give {BUNDLED.guide}, {BUNDLED.judge}, a .safetensors file "
                "or ARCHITECTURE/WEIGHTS of open_clip, such as ViT-B-16-quickgelu/openai"
            )
        path = locate(name, KIND)
        config, tensors = read(path, KIND)

        def model() -> "open_clip.CLIP":
            return small(tuple(config["words"]), config["width"], config["text"])[0]

        network = build(path, model, tensors)
        tokenize = WordTokenizer(tuple(config["words"]), config["text"]["context_length"])
        clip = cls(network, tokenize, config["role"])
        clip.domain, clip.size = suits(config)
        freeze(clip.model, tensors, path, resize)
        return clip.eval()

    @classmethod
    def _open_clip(cls, architecture: str, weights: str, role: Role, antialias: bool) -> Self:
        import open_clip

        tags = open_clip.list_pretrained_tags_by_model(architecture)
        if weights not in tags and not Path(weights).is_file():
            raise HslError(
                f"{architecture}/{weights}: neither a file nor pretrained weights of "
                f"{architecture}; there are {', '.join(tags) or 'none'}"
            )
        logging.disable(logging.ERROR)  # without network, twenty lines about retries
        try:
            with limited():
                model = open_clip.create_model(architecture, pretrained=weights)
                tokenize = open_clip.get_tokenizer(architecture)
        except Exception as error:  # huggingface_hub, urllib and torch each raise their own
            raise HslError(
                f"{architecture}/{weights}: could not be downloaded or read; download it on a "
                f"machine with network and give {architecture}/PATH_OF_THE_FILE"
            ) from error
        finally:
            logging.disable(logging.NOTSET)
        model.eval().requires_grad_(False)
        config = open_clip.get_model_preprocess_cfg(model)
        return cls(model, tokenize, role, config, antialias).eval()


def small(
    words: tuple[str, ...], width: int, text: dict[str, int]
) -> "tuple[open_clip.CLIP, WordTokenizer]":
    """An untrained small CLIP with its tokenizer: open_clip's ``CLIP`` whose image tower is
    convolutional (at 32 pixels ViTs and open_clip's ResNets did worse).

    Args:
        words: its vocabulary.
        width: of the image tower.
        text: ``width``, ``heads``, ``layers``, ``context_length`` of the text transformer, and
            ``dim``, the features' dimension.
    """
    import open_clip

    tokenizer = WordTokenizer(words, text["context_length"])
    towers = {k: text[k] for k in ("width", "heads", "layers", "context_length")}
    stand_in = {"image_size": 32, "patch_size": 32, "layers": 1, "width": 64}
    model = open_clip.CLIP(text["dim"], stand_in, towers | {"vocab_size": tokenizer.size})
    model.visual = Tower(width, text["dim"])
    return model, tokenizer
