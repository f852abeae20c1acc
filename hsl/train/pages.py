"""The help of ``python -m hsl.train``, which needs no class; the parser's own, of all options of
all classes, is ``fit --help.all``."""

from hsl.bundled import BUNDLED

_TOP = """
usage: python -m hsl.train VERB [options]

Find directions, and measure them. Without any option, fit trains a Smiling direction for the
bundled diffusion model.

examples:
  python -m hsl.train fit
  python -m hsl.train fit --model.attribute "[Smiling, Eyeglasses]" --name two
  python -m hsl.train fit --config method/svm --data.train 500
  python -m hsl.train fit --config backbone/celebahq --config data/celebahq --config trainer/gpu
  python -m hsl.train fit --name two --resume
  python -m hsl.train test --ckpt_path runs/two/checkpoints/final.ckpt --data.test 500

verbs:
  fit       find directions, choose their strengths, edit held-out images and measure the edits
  validate  score directions on other images (with --ckpt_path)
  test      edit held-out images and measure the edits (with --ckpt_path)
  predict   invert images, and keep what a later fit needs (with --model.cache FOLDER)

  VERB --help        the options that matter
  VERB --help.all    all options of all classes
  --version          show the version
"""
_OPTIONS = f"""
options:
  -h, --help                 show this
  --help.all                 show all options of all classes
  -c, --config FILE          a YAML file with options, or the name of one that comes with hsl:
                             method/svm, backbone/celebahq, data/folder, trainer/gpu; several go
                             together, and what is given after them counts
  --print_config             print what all options come to, as YAML

the run:
  --name NAME                what its folder is called (default: the date and time)
  --runs FOLDER              where run folders lie (default: runs)
  --overwrite                replace what a run of this name found
  --seed_everything N        of all random numbers (default: 0)
  --wandb MODE               offline, online or disabled (default: offline)

the method:
  --model CLASS              hsl.methods.asyrp.Asyrp (default), hsl.methods.linear.Linear, ...
  --model.help [CLASS]       all its options
  --model.attribute NAME     what to find: Smiling, or several, "[Smiling, Not_Young]"
  --model.backbone NAME      the diffusion model: a name, folder, file or Hub id
  --model.steps N            of inversion and reverse process
  --model.t_edit T           edit at t >= T (default: read off perceptual curves)
  --model.t_boost T          take stochastic steps at t < T (default: read off the curves)
  --model.cache FOLDER       keep what is computed of each image for other runs
  --model.speed.bfloat16 B   true: the U-Net in bfloat16

the images:
  --data CLASS               {BUNDLED.data} (default), ...
  --data.help [CLASS]        all its options
  --data.train N             how many images to train on
  --data.validation N        ... to choose strengths on
  --data.test N              ... to measure on
  --data.batch_size N        images at once
  --data.num_workers N       processes that read them

what is chosen and measured:
  --strength.guide NAME      the network that chooses strengths; null: they stay 1
  --evaluate.attributes NAME the judge of attributes; null: none
  --evaluate.clip NAME       the judge of S_dir; null: none
  --grids.images N           images in grid.png

how it is computed:
  --trainer.max_epochs N     passes over the training images (default: 7)
  --trainer.accelerator A    cpu, gpu, auto (default)
  --trainer.devices N        how many of them
  --trainer.precision P      as Lightning calls it
  --trainer.fast_dev_run B   true: a batch of everything, and nothing is kept
"""
_FIT = """
going on:
  --resume                   go on with a fit that was killed: the same command, and this
  --ckpt_path FILE           begin with another run's checkpoint
  --checkpoints.every_n_epochs N
                             how often last.ckpt is written (default: 1)
"""
_CHECKPOINT = """
what was found:
  --ckpt_path FILE           the checkpoint of a run: runs/NAME/checkpoints/final.ckpt
"""
_ABOUT = {
    "fit": (
        "Find directions, choose their strengths on validation images, edit held-out images and "
        "measure\nthe edits. The last line printed is the run's folder.",
        """
  python -m hsl.train fit
  python -m hsl.train fit --model.attribute Eyeglasses --model.lr 1e-3 --name glasses
  python -m hsl.train fit --config method/svm
""",
        _FIT,
    ),
    "validate": (
        "Score the directions of a checkpoint on other images.",
        """
  python -m hsl.train validate --config runs/svm/config.yaml \\
      --ckpt_path runs/svm/checkpoints/final.ckpt
""",
        _CHECKPOINT,
    ),
    "test": (
        "Edit held-out images along the directions of a checkpoint, and measure the edits.",
        """
  python -m hsl.train test --config runs/smile/config.yaml \\
      --ckpt_path runs/smile/checkpoints/final.ckpt --data.test 500
""",
        _CHECKPOINT,
    ),
    "predict": (
        "Invert images, and keep what a later fit needs in a cache.",
        """
  python -m hsl.train predict --model.cache cache
""",
        "",
    ),
}


def page(verb: str | None = None) -> str:
    """The help of a verb, or of the command."""
    if verb is None:
        return _TOP.strip("\n")
    about, examples, more = _ABOUT[verb]
    usage = f"usage: python -m hsl.train {verb} [options]"
    text = f"{usage}\n\n{about}\n\nexamples:\n{examples.strip(chr(10))}\n{_OPTIONS}{more}"
    return text.strip("\n")
