"""Picture formats: which are read, the suffixes of their files, and what the others are called."""

import importlib
from contextlib import suppress
from functools import cache

from PIL import Image

#: Pillow's name of a format that is read -> suffixes of its files. Pillow knows more formats, some
#: of which start other programs.
_READ = {
    "PNG": "png apng",
    "JPEG": "jpg jpeg jpe jfif jif jfi mpo",
    "WEBP": "webp",
    "BMP": "bmp",
    "TIFF": "tif tiff",
    "GIF": "gif",
    "PPM": "ppm pgm pbm pnm pfm",
    "AVIF": "avif",
    "JPEG2000": "jp2 j2k j2c jpc jpf jpx",
    "HEIF": "heic heif hif",
}
#: What other formats of pictures are called -> suffixes of their files.
_UNREAD = {
    "a camera's raw format": "3fr arw cr2 cr3 crw dcr dng erf iiq kdc mef mrw nef nrw orf pef raf "
    "raw rw2 rwl sr2 srf srw x3f",
    "JPEG XL": "jxl",
    "JPEG XR": "jxr wdp hdp",
    "Photoshop": "psd psb",
    "GIMP": "xcf",
    "OpenEXR": "exr",
    "Radiance": "hdr",
    "a drawing": "svg svgz eps ps ai wmf emf",
    "PDF": "pdf",
    "an icon": "ico icns cur",
    "Targa": "tga",
    "PCX": "pcx",
    "DirectDraw": "dds",
    "SGI": "sgi rgb rgba bw",
    "DICOM": "dcm dicom",
    "FITS": "fits fit",
}
_NAMES = {"HEIF": "HEIC", "JPEG2000": "JPEG 2000", "PPM": "PNM"}
#: How files begin -> what they are. Where the second part is no picture, it says what to do.
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"gimp xcf", "GIMP"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance"),
    (b"%!PS", "a drawing"),
    (b"<svg", "a drawing"),
    (b"%PDF", "PDF"),
    (b"\0\0\x01\0", "an icon"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
#: How a file begins that git-lfs has left in another's place.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read here: what this Pillow was built with, and HEIC
    where its plugin is installed."""
    with suppress(Exception):  # not installed, or built for another Pillow
        importlib.import_module("pillow_heif").register_heif_opener()
    Image.init()
    return tuple(name for name in _READ if name in Image.OPEN)


@cache
def suffixes() -> frozenset[str]:
    """Suffixes of files that are taken for images: ``.png`` and so on, in lower case. What is in
    such a file is found out by looking."""
    return frozenset(f".{s}" for name in formats() for s in _READ[name].split())


@cache
def _others() -> dict[str, str]:
    """Suffix -> name of pictures that are not read here."""
    several = _UNREAD | {n: s for n, s in _READ.items() if n not in formats()}
    return {f".{s}": name for name, all_of_it in several.items() for s in all_of_it.split()}


def unread(suffix: str) -> str | None:
    """Why a picture with this suffix (in lower case) is not read, and what to do; None: it is, or
    it is no picture's."""
    name = _others().get(suffix)
    return None if name is None else _why(name)


def recognised(beginning: bytes) -> str | None:
    """The format of a picture by the first bytes of its file (12 or more), by Pillow's name where
    it has one; None: of no picture."""
    if beginning[4:8] == b"ftyp":
        brand = beginning[8:12]
        return "AVIF" if brand in (b"avif", b"avis") else "HEIF" if brand in _HEIF_BRANDS else None
    if beginning[:4] == b"RIFF":
        return "WEBP" if beginning[8:12] == b"WEBP" else None
    return next((name for start, name in _BEGINNINGS if beginning.startswith(start)), None)


def unknown(content: bytes) -> str:
    """Why the content of a file is not read, as none of `formats` takes it."""
    if not content:
        return "it is empty"
    if content.startswith(LFS_POINTER):
        return "a pointer of git-lfs in its place: run 'git lfs pull' in its repository"
    name = recognised(content[:32])
    if name is None:
        return "of no known format; convert it to PNG or JPEG"
    if name in formats():
        return f"damaged, or {called(name)} of a kind that is not read; save it anew with 8 bits"
    return _why(name)


def called(name: str) -> str:
    """What people call a format."""
    return _NAMES.get(name, name)


def _why(name: str) -> str:
    if name == "HEIF":
        return (
            'HEIC is read with a plugin: pip install "hspace[heif]", or convert it to PNG or JPEG'
        )
    if name in _READ:
        return f"this Pillow does not read {called(name)}: pip install -U pillow"
    return f"{name} is not read; convert it to PNG or JPEG"
