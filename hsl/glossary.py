"""What the figures in tables and files are, in one place: tables say it, and so does README.md."""

from collections.abc import Iterable
from typing import Literal, NamedTuple


class Term(NamedTuple):
    """What a figure is, in a line; its unit (empty: none); which way is better (empty: neither)."""

    means: str
    unit: str = ""
    better: Literal["higher", "lower", ""] = ""

    def __str__(self) -> str:
        unit = f", in {self.unit}" if self.unit else ""
        return f"{self.means}{unit}" + (f" ({self.better} is better)" if self.better else "")


#: By the names that figures have in tables, ``summary.json`` and CSV files.
GLOSSARY: dict[str, Term] = {
    # edits of held-out images, by judges
    "strength": Term("factor of a direction; of a boundary: distance to go"),
    "t_edit": Term("steps with t at or above it are edited", "timesteps"),
    "t_start": Term("steps with t above it are not edited", "timesteps"),
    "t_boost": Term("steps with t below it draw new noise: quality boosting", "timesteps"),
    "images": Term("how many images"),
    "coefficient": Term("strength * n_train / n_test: what is put in at each step"),
    "gamma": Term("share of an image's own h, beside the content's"),
    "target_before": Term("share of source images in which the judge sees the target"),
    "target_after": Term("share of edited images in which the judge sees the target", "", "higher"),
    "effect": Term("mean change of the target's probability", "", "higher"),
    "kept": Term("share of images in which no other attribute changes sides", "", "higher"),
    "leakage": Term("mean absolute change of another attribute's probability", "", "lower"),
    "leakage_worst": Term("leakage of the attribute that changes most", "", "lower"),
    "leakage_worst_attribute": Term("the attribute that changes most"),
    "excluded": Term("change of attributes that the target excludes; in no other figure"),
    "reconstruction_kept": Term("share of unedited reconstructions with all attributes", "",
                                "higher"),
    "reconstruction_psnr": Term("median likeness of reconstruction and source", "dB", "higher"),
    "reconstruction_psnr_p5": Term("its 5th percentile over images", "dB", "higher"),
    "counterfactual_error_before": Term("perceptual distance of source and truth"),
    "counterfactual_error_after": Term("perceptual distance of edit and truth", "", "lower"),
    "counterfactual_floor": Term("that distance of the reconstructed truth: the least there is"),
    "closed": Term("share of the way from source to floor that the edit goes", "", "higher"),
    "s_dir": Term("cosine of the image's and the text's change in CLIP", "", "higher"),
    "s_dir_loss": Term("1 - s_dir", "", "lower"),
    "ci_over": Term("what the 95% intervals in brackets are over"),
    "seconds": Term("from the start of the run", "s", "lower"),
    "peak_memory_mb": Term("largest memory of the process or the GPU", "MB", "lower"),
    "seen": Term("share of edited validation images in which the guide sees the target", "",
                 "higher"),
    # boundaries
    "space": Term("where the hyperplane lies: x_t or h"),
    "accuracy": Term("share of held-out images on their side of the boundary", "", "higher"),
    "balanced": Term("mean accuracy of images with and without the attribute", "", "higher"),
    "auc": Term("chance that an image with the attribute scores above one without", "", "higher"),
    "leave-one-out balanced": Term("balanced, each training image by a fit without it", "",
                                   "higher"),
    "leave-one-out auc": Term("auc, each training image by a fit without it", "", "higher"),
    # profiles and latents
    "LPIPS(x, P_t)": Term("perceptual distance of the image and the one predicted at t"),
    "LPIPS(x, x_t)": Term("perceptual distance of the image and the noisy one at t"),
    "norm": Term("length / sqrt(d); 1 of Gaussian noise"),
    "variance": Term("of a latent's numbers; 1 of Gaussian noise"),
    "kurtosis": Term("how heavy the tails are; 0 of Gaussian noise"),
    "not_normal": Term("share of latents that a test tells from Gaussian noise"),
    "cosine": Term("mean |cos| of the angles between latents"),
    "neighbours": Term("correlation of neighbouring positions; about 0 of Gaussian noise"),
    # backbones and data sets
    "eps error": Term("mean squared error of the predicted noise", "", "lower"),
    "correlation": Term("Pearson's, from -1 to 1, of two labels"),
    "width": Term("smallest ... median ... largest", "pixels"),
    "height": Term("smallest ... median ... largest", "pixels"),
}  # fmt: skip


def markdown() -> str:
    """All of it as a Markdown table."""
    lines = ["| figure | what it is | unit | better |", "|---|---|---|---|"]
    for name, term in GLOSSARY.items():
        words = " | ".join(part.replace("|", "\\|") for part in term)
        lines.append(f"| `{name}` | {words} |".replace("|  |", "| |").replace("|  |", "| |"))
    return "\n".join(lines) + "\n"


def legend(names: Iterable[str], brief: bool = False) -> list[str]:
    """A line for each name that is a figure: ``auc: chance that ... (higher is better)``; if
    ``brief``, without its unit and which way is better."""
    known = {name: GLOSSARY[name] for name in names if name in GLOSSARY}
    return [f"{name}: {term.means if brief else term}" for name, term in known.items()]
