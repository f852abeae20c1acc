#!/usr/bin/env bash
# Train every bundled model and direction again, and measure every card and RESULTS.md anew.
# About 3 hours on two CPU cores. `make models` calls it with the right python on the PATH.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
here=experiments/toyfaces

python $here/train_ddpm.py --size 32 --steps 19000 --out runs/toyfaces/ddpm
python $here/export_ddpm.py --run runs/toyfaces/ddpm --out hsl/assets/toyfaces/ddpm
python $here/record_eps_errors.py --model hsl/assets/toyfaces/ddpm
python $here/train_attributes.py --role guide
python $here/train_attributes.py --role judge --steps 1000 --faces 30000
python $here/train_clip.py --role guide
python $here/train_clip.py --role judge
python $here/train_segmenter.py --steps 600
python $here/train_perceptual.py --role guide --steps 800
python $here/train_perceptual.py --role judge --steps 800
python $here/card_ddpm.py --card hsl/assets/toyfaces/ddpm.md
# the same script at a shorter, stated budget: how far a rerun's figures move
python $here/train_ddpm.py --size 32 --steps 1500 --images 20000 --seed 1 --out runs/toyfaces/ddpm-short
python $here/export_ddpm.py --run runs/toyfaces/ddpm-short --out runs/toyfaces/ddpm-short/export
python $here/card_ddpm.py --model runs/toyfaces/ddpm-short/export --card $here/ddpm_short.md --samples 128 --reconstructions 64 --probed 128
python $here/calibrate_intervals.py
python experiments/asyrp_toyfaces/run.py --ship
python experiments/boundary_toyfaces/memory.py
python experiments/boundary_toyfaces/run.py --again --ship encoding
python experiments/checkpoints/run.py
