"""Faces turned, scaled and cut out as FFHQ's are (Karras et al. 2019)."""

import math
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from huggingface_hub import hf_hub_download
from PIL import Image

from hsl.data.decoding import Undecodable, decode
from hsl.data.index import Inspection, inspect
from hsl.errors import HslError
from hsl.hub import limited

_MODEL = ("opencv/face_detection_yunet", "face_detection_yunet_2023mar.onnx")
_SEEN = 640  # longest side that faces are looked for at: enough for any that is worth cutting out
_LIMIT = 1024  # longest side of a cut, in pixels
_DETECTING = Lock()  # the detector's input size is a state


def inspect_face(content: bytes, path: str) -> Inspection:
    """`hsl.data.index.inspect`, where an image without a face counts as broken."""
    entry = inspect(content, path)
    if entry.error is None:
        try:
            landmarks(decode(content, path), path)
        except Undecodable as error:
            return entry._replace(error=str(error))
    return entry


def aligned(image: Image.Image, path: str) -> Image.Image:
    """The square around the largest face, its eyes level; grey outside the image.

    The square is FFHQ's: with e from eye to eye and m from eyes to mouth, half its side is the
    larger of 2 |e| and 1.8 |m|, and its centre lies 0.1 m below the eyes. FFHQ takes the middle
    of each eye's outline; here it is the detector's one point for an eye.

    Raises:
        Undecodable: no face is found.
        HslError: OpenCV or its model cannot be had.
    """
    points = landmarks(image, path)
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    e, m = points[1] - points[0], mouth - eyes
    x = e - np.array([-m[1], m[0]])  # m, turned by a quarter, points as -e does
    x *= max(2.0 * math.hypot(*e), 1.8 * math.hypot(*m)) / math.hypot(*x)
    y = np.array([-x[1], x[0]])
    centre = eyes + 0.1 * m
    # top left, bottom left, bottom right, top right
    corners = np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
    side = min(round(2 * math.hypot(*x)), _LIMIT)
    quad = tuple(corners.flatten().tolist())
    return image.transform(
        (side, side),
        Image.Transform.QUAD,
        quad,
        Image.Resampling.BICUBIC,
        fillcolor=(127, 127, 127),
    )


def landmarks(image: Image.Image, path: str) -> np.ndarray[Any, Any]:
    """Of the largest face, ``[5, 2]`` in pixels (x, y): the eye on the left of the image, the one
    on its right, the nose, the corners of the mouth, left and right.

    Raises:
        Undecodable: no face is found.
        HslError: OpenCV or its model cannot be had.
    """
    scale = min(_SEEN / max(image.size), 1.0)
    small = image.resize([max(round(side * scale), 1) for side in image.size])
    faces = detect(np.asarray(small)[:, :, ::-1].copy())
    if faces is None or len(faces) == 0:
        raise Undecodable(f"{path}: no face found")
    largest = max(faces, key=lambda face: float(face[2] * face[3]))
    return np.asarray(largest[4:14], np.float64).reshape(5, 2) / scale


def detect(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """Faces of an image ``[H, W, 3]`` uint8 (blue, green, red): rows of x, y, width, height, five
    points, score; None where there are none."""
    detector = _detector()
    with _DETECTING:
        detector.setInputSize((image.shape[1], image.shape[0]))
        faces: np.ndarray[Any, Any] | None = detector.detect(image)[1]
    return faces


@cache
def _detector() -> Any:
    """YuNet (MIT licence, 230 KB), from the Hub on first use."""
    try:
        import cv2
    except ImportError as error:
        raise HslError('align needs OpenCV: pip install "hspace[align]"') from error
    with limited() as silent:
        try:
            path = hf_hub_download(*_MODEL)
        except Exception as error:  # the library raises its own, the Hub's and OS errors
            reason = silent or type(error).__name__
            raise HslError(f"{_MODEL[0]}: cannot be had ({reason}); see the network") from error
    return cv2.FaceDetectorYN.create(str(Path(path)), "", (_SEEN, _SEEN))
