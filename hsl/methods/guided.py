"""Methods whose directions are trained between texts, by a CLIP that is their guide."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from hsl.data.texts import bundled_templates
from hsl.encoders.clip import Clip
from hsl.encoders.roles import fingerprint
from hsl.errors import HslError
from hsl.losses import DirectionalClipLoss
from hsl.methods.surroundings import require_suited
from hsl.methods.trained import Trained
from hsl.store import key_of


def names_of(attribute: str | list[str]) -> list[str]:
    """One or several attributes, by names that directions can have.

    Raises:
        HslError: no name, one that is there twice, or one that no module and file can have.
    """
    names = [attribute] if isinstance(attribute, str) else list(attribute)
    if not names or len(set(names)) < len(names):
        raise HslError(f"attribute: want one or several different names, not {names}")
    for name in names:  # they become names of modules and files
        if not re.fullmatch(r"[\w-]+", name) or hasattr(nn.ModuleDict, name):
            raise HslError(f"attribute {name!r}: want a name of letters, digits, - and _ "
                           "that PyTorch's modules have not taken")  # fmt: skip
    return names


class Guided(Trained):
    """A method with source and target texts for each direction, and a directional CLIP loss between
    them.

    Attributes:
        clip: the guide, whose name is ``clip_name``.
        clip_key: what its features of an image depend on besides the image.
        losses: by direction, the loss between its texts.
    """

    clip: Clip
    clip_name: str
    clip_key: str
    losses: nn.ModuleDict
    _texts: Mapping[str, tuple[str, str]]

    def guide_by(
        self,
        clip: str,
        texts: Mapping[str, tuple[str, str]],
        templates: Sequence[str] | Literal["imagenet"] | None,
        antialias: bool,
        as_released: bool,
    ) -> None:
        """Load the guide, and make a loss for each direction; the arguments are `Asyrp`'s, the
        texts by direction."""
        antialias = antialias and not as_released
        self.clip_name, self._texts = clip, texts
        self.clip = Clip.load(clip, antialias=antialias, resize=True)
        settings = [antialias, clip.partition("/")[0], self.clip.preprocess]
        self.clip_key = key_of(settings, *self.clip.state_dict().values())
        self.losses = nn.ModuleDict({
            name: DirectionalClipLoss(self.clip, *pair, _sentences(templates), as_released)
            for name, pair in texts.items()
        })  # fmt: skip
        self.guides[fingerprint(self.clip)] = f"{clip} trained the directions"

    def setup(self, stage: str) -> None:
        """Check that the guide is for the images, before anything is computed.

        Raises:
            HslError: it is not.
        """
        if stage == "fit":
            require_suited(self.clip, self.clip_name, self.trainer)

    def loss(self, name: str) -> DirectionalClipLoss:
        """The directional loss of attribute ``name``."""
        loss = self.losses[name]
        assert isinstance(loss, DirectionalClipLoss)
        return loss

    def cosine_of(self, name: str) -> float:
        """Cosine of the bare source and target texts; the Intervals callback weighs by it."""
        return self.loss(name).cosine

    def texts_of(self, name: str) -> tuple[str, str] | None:
        """The source and target texts of attribute ``name``."""
        return self._texts.get(name)

    def _features(self, images: Tensor) -> Tensor:
        """The images' unit CLIP features ``[B, E]``, which are the same to all attributes."""
        return self.loss(next(iter(self._texts))).features(images)


def _sentences(templates: Sequence[str] | None) -> Sequence[str]:
    """Templates by name, or as they are."""
    if templates is None:
        return bundled_templates()
    if templates == "imagenet":
        from open_clip import OPENAI_IMAGENET_TEMPLATES  # slow to import

        return [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
    return templates
