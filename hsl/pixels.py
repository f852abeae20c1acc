"""What values images have: the one check at the doors through which they come."""

from torch import Tensor

from hsl.errors import HslError

#: An edited image may leave [-1, 1] a little; one in [0, 255] does not pass.
_RANGE = 1.5
_ADVICE = ": divide by 127.5 and subtract 1"


def require_pixels(name: str, image: Tensor) -> None:
    """Refuse what is no image in [-1, 1], of any shape.

    Raises:
        HslError: whole numbers, NaN, or values beyond 1.5; ``name`` is what it is called.
    """
    if not image.is_floating_point():
        raise HslError(f"{name} is {image.dtype}; want float in [-1, 1]{_ADVICE}")
    if not image.numel():
        return
    low, high = (end.item() for end in image.detach().aminmax())
    if not -_RANGE <= low <= high <= _RANGE:  # false for NaN, too
        advice = _ADVICE if low >= 0 else ""
        raise HslError(f"{name} spans [{low:.3g}, {high:.3g}]; want [-1, 1]{advice}")
