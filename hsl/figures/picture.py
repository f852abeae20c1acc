"""The figure that all others are. Apart, as matplotlib takes seconds to import."""

import io

from matplotlib.figure import Figure


class Picture(Figure):
    """A figure that a notebook shows by itself, without pyplot and what it keeps."""

    def _repr_png_(self) -> bytes:
        png = io.BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()
