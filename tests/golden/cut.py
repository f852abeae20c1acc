"""Cut the repository's small golden files out of the recorded ones.

    python tests/golden/cut.py RECORDED tests/golden

``RECORDED`` holds ``asyrp/``, ``boundary/`` and ``haas/`` as they were recorded. A file is a list
of cases; a cut one holds some of them, tensor by tensor as they are, under their names. Of edits
at several distances the first is kept, and the lists about them in the metadata are cut likewise.
"""

import json
import re
import shutil
import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

#: Of each file, the tensors that it keeps, as a regular expression; None keeps the whole file.
KEPT = {
    "asyrp/auto_timesteps.json": None,
    "asyrp/ddpm_A_config.json": None,
    "asyrp/ddpm_A_weights.safetensors": None,
    "asyrp/distance_table.safetensors": None,
    "asyrp/clip_direction.safetensors": r"b1\..*|b4.*|preprocess\..*",
    "asyrp/schedule.safetensors": r"betas|alphas_.*|seq\.t(500|999)\.n(2|6|10|40|50|100)",
    "asyrp/ddpm_A_forward.safetensors": (
        r"x|layer_.*|explicit\..*|plain\.(t513|mixed)\..*|plain\.t999\.eps"
        r"|block\.t512\..*|block\.t513\.delta_h|block\.t999\.hs0\.8.*|block_.*"
        r"|additive\.t999\.hs0\.8.*|slerp\.t999\.g(0\.7|1\.0)\..*|slerp_mask\..*"
        r"|step\.(inv_0_25|eta0\.5_222_111|edit_777_666)\..*"
    ),
    "asyrp/ddpm_A_process.safetensors": (
        r"x0|layer_0\..*|multi\..*|mean_delta_h\..*|ntrain10_ntest40\..*"
        r"|n10\.(seq|x_T|recon|origin_final|edit_final|boost\..*|origin_boost\..*)"
        r"|n10\.(hs0\.9_0\.5|dt_lambda0\.9985|interp|multi)\..*"
    ),
    "asyrp/ddpm_A_training.safetensors": (
        r"x0|x_T|cosine|clip\..*|main\.(?!step).*|main\.step0\.x0_t_origin"
    ),
    "boundary/fam_iii_p2_A.safetensors": None,
    "boundary/fam_iii_p2_A_io.safetensors": None,
    "boundary/boundary_search_p2_A.safetensors": r"[hz]\..*|(train|test)\..*",
    "boundary/edit_p2_A.safetensors": (
        r"boundary_.*|x0|.*_lat|inv\..*|rec\..*|edit0\..*|.*_eta.0\.z"
    ),
    "boundary/mixing_A.safetensors": None,
    "boundary/svm_multi_A.safetensors": None,
    "haas/7_ldm.safetensors": None,
    "haas/tiny-ldm": None,
}


def cut(source: Path, target: Path, kept: str) -> None:
    """Write the tensors of a file whose names match, with its metadata."""
    with safe_open(source, framework="pt") as file:
        names = [name for name in file.keys() if re.fullmatch(kept, name)]  # noqa: SIM118
        tensors = {name: file.get_tensor(name) for name in names}
        about = dict(file.metadata() or {})
    if "meta" in about:
        meta = json.loads(about["meta"])
        n = len(meta.get("distances", []))
        about["meta"] = json.dumps(
            {k: v[:1] if isinstance(v, list) and len(v) == n else v for k, v in meta.items()}
        )
    save_file(tensors, target, metadata=about)


def main(recorded: Path, folder: Path) -> None:
    for name, kept in KEPT.items():
        source, target = recorded / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if kept is not None:
            cut(source, target, kept)
        elif source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, target)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
