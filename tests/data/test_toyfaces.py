"""ToyFaces: what is drawn, what is labelled, and how it is served."""

import itertools

import pytest
import torch
from torch import Tensor

from hsl.data.toyfaces import (
    ATTRIBUTES,
    REGIONS,
    SEEN,
    UNSEEN,
    WORLDS,
    ToyFaces,
    ToyFacesDataModule,
    counterfactual,
    excluded_by,
    labels,
    regions,
    render,
    sample,
)
from hsl.data.toyfaces.factors import HAIR_COLOURS
from hsl.errors import HslError

#: What an attribute paints, and may uncover: the pixels that may change when it is set.
PAINTS: dict[str, set[str]] = {
    "Smiling": {"mouth"},
    "Mouth_Slightly_Open": {"mouth"},
    "Eyeglasses": {"eyeglasses"},
    "Wearing_Hat": {"hat"},
    "Goatee": {"beard"},
    "Wearing_Lipstick": {"mouth"},
    "Bushy_Eyebrows": {"brows"},
    "Wearing_Necktie": {"cloth"},
    "Wearing_Earrings": {"jewellery"},
    "Mustache": {"beard"},
}


@pytest.fixture(scope="module")
def many() -> Tensor:
    """Labels of 20,000 faces of the training world."""
    return labels(sample(range(20_000), WORLDS["train"]))


def column(table: Tensor, name: str) -> Tensor:
    return table[:, ATTRIBUTES.index(name)]


@pytest.mark.parametrize("size", [32, 64])
def test_a_face_depends_on_its_number_and_world_alone(size: int) -> None:
    few, more = ToyFaces("test", 5, size), ToyFaces("test", 80, size)
    assert torch.equal(few.factors.attributes, more.factors.attributes[:5])
    assert torch.equal(few.factors.nuisances, more.factors.nuisances[:5])
    torch.testing.assert_close(few.images, more.images[:5], atol=1e-6, rtol=0)
    far = sample([5000, 3, 1023, 1024], 7)
    assert torch.equal(far.nuisances[1], sample([3], 7).nuisances[0])
    assert torch.equal(far.nuisances[3], sample(range(1030), 7).nuisances[1024])


def test_worlds_share_no_face() -> None:
    first = [sample(range(200), seed).nuisances for seed in WORLDS.values()]
    for a, b in itertools.combinations(first, 2):
        assert not torch.isclose(a[:, None], b[None]).all(-1).any()


def test_every_pair_occurs_in_all_four_combinations(many: Tensor) -> None:
    for a, b in itertools.combinations(SEEN, 2):
        x, y = column(many, a), column(many, b)
        shares = {
            (p, q): ((x == p) & (y == q)).float().mean().item() for p in (0, 1) for q in (0, 1)
        }
        if b in excluded_by(a) and "Smiling" not in (a, b):
            assert shares.pop((1, 1)) == 0, (a, b)
        assert min(shares.values()) >= 0.005, (a, b, shares)


@pytest.mark.parametrize(
    ("a", "b", "sign"),
    [
        ("Male", "Goatee", 1),
        ("Young", "Gray_Hair", -1),
        ("Wearing_Lipstick", "Male", -1),
        ("Smiling", "Mouth_Slightly_Open", 1),
        ("Heavy_Makeup", "Wearing_Lipstick", 1),
        ("Male", "Wearing_Necktie", 1),
        ("Male", "Wearing_Earrings", -1),
        ("Young", "Eyeglasses", -1),
        ("Male", "Bald", 1),
        ("Smiling", "Male", -1),
        ("Male", "Bushy_Eyebrows", 1),
    ],
)
def test_attributes_correlate_as_in_celeba(many: Tensor, a: str, b: str, sign: int) -> None:
    pair = torch.stack([column(many, a), column(many, b)])
    assert torch.corrcoef(pair)[0, 1].item() * sign > 0.05


def test_unseen_attributes_occur_only_when_asked_for(many: Tensor) -> None:
    for name in UNSEEN:
        assert column(many, name).sum() == 0
        with_unseen = labels(sample(range(2000), WORLDS["train"], unseen=True))
        assert 0.25 < column(with_unseen, name).mean() < 0.35


def test_a_bald_face_shows_no_hair() -> None:
    faces = ToyFaces("test", 30, where={"Bald": 1, "Wearing_Hat": 0})
    hidden = [ATTRIBUTES.index(n) for n in ("Black_Hair", "Blond_Hair", "Bangs", "Gray_Hair")]
    assert faces.labels[:, hidden].sum() == 0
    assert not (regions(faces.factors, 32) == REGIONS.index("hair")).any()


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_what_is_labelled_is_what_is_drawn(name: str) -> None:
    faces = counterfactual(sample(range(40), WORLDS["test"]), Wearing_Hat=0)
    with_it, without = (counterfactual(faces, **{name: v}) for v in (1, 0))
    assert (column(labels(with_it), name) == 1).all()
    assert (column(labels(without), name) == 0).all()
    visible = column(without.attributes, "Bald") == 0 if name == "Bangs" else slice(None)
    difference = (render(with_it) - render(without)).abs().amax((1, 2, 3))
    assert (difference[visible] > 0.2).all()


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("name", sorted(PAINTS))
def test_a_counterfactual_changes_only_what_the_attribute_draws(name: str, size: int) -> None:
    faces = sample(range(24), WORLDS["test"])
    with_it, without = (counterfactual(faces, **{name: v}) for v in (1, 0))
    drawn = [REGIONS.index(region) for region in PAINTS[name]]
    may = torch.zeros(24, size, size, dtype=torch.bool)
    for factors in (with_it, without):
        may |= torch.isin(regions(factors, size), torch.tensor(drawn))
    margin = 2 * size // 32 + 1  # the edges are soft
    near = torch.nn.functional.max_pool2d(may[:, None].float(), 2 * margin + 1, 1, margin)[:, 0]
    change = (render(with_it, size) - render(without, size)).abs().amax(1)
    assert change[near == 0].max() < 0.03
    assert change[near > 0].max() > 0.2


@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.parametrize("value", [0, 1])
def test_a_counterfactual_keeps_all_other_labels(name: str, value: int) -> None:
    faces = sample(range(500), WORLDS["test"], unseen=True)
    before, after = labels(faces), labels(counterfactual(faces, **{name: value}))
    assert (column(after, name) == value).all()
    others = [n for n in ATTRIBUTES if n != name and n not in excluded_by(name)]
    # what baldness hid comes to light when it ends
    hid = column(before, "Bald") if value and "Bald" in excluded_by(name) else torch.zeros(500)
    for other in others:
        hidden = (hid == 1) & (other in (*HAIR_COLOURS, "Bangs"))
        assert (hidden | (column(before, other) == column(after, other))).all(), other
    already = column(before, name) == value
    assert torch.equal(before[already], after[already])


def test_a_counterfactual_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="want 0 or 1"):
        counterfactual(sample([0], 1), Smiling=2)


@pytest.mark.parametrize("size", [32, 64])
def test_a_batch_carries_images_labels_indices_and_paths(size: int) -> None:
    data = ToyFacesDataModule(size=size, test=10, batch_size=4, where={"test": {"Smiling": 0}})
    batches = list(data.test_dataloader())
    assert [len(batch.index) for batch in batches] == [4, 4, 2]
    batch = batches[0]
    assert batch.image.shape == (4, 3, size, size) and batch.image.dtype == torch.float32
    assert -1 <= batch.image.min() < -0.5 and 0.5 < batch.image.max() <= 1
    assert batch.labels.shape == (4, len(data.names)) and batch.index.dtype == torch.int64
    assert (column(batch.labels, "Smiling") == 0).all()
    assert batch.path == [f"toyfaces/test/{i}" for i in batch.index.tolist()]
    same = render(sample(batch.index, WORLDS["test"]), size)
    torch.testing.assert_close(batch.image, same, atol=1e-6, rtol=0)


def test_a_filter_takes_the_first_faces_that_pass() -> None:
    faces = ToyFaces("validation", 20, where={"Male": 1, "Eyeglasses": 1})
    table = labels(sample(range(1000), WORLDS["validation"]))
    passing = (column(table, "Male") == 1) & (column(table, "Eyeglasses") == 1)
    assert faces.index.tolist() == passing.nonzero().flatten()[:20].tolist()


def test_the_training_order_is_shuffled_and_repeatable() -> None:
    first, second = (ToyFacesDataModule(train=40, seed=3) for _ in range(2))
    orders = [torch.cat([b.index for b in d.train_dataloader()]).tolist() for d in (first, second)]
    assert orders[0] == orders[1] != list(range(40)) and sorted(orders[0]) == list(range(40))
    other = torch.cat([b.index for b in ToyFacesDataModule(train=40, seed=4).train_dataloader()])
    assert other.tolist() != orders[0]


def test_prediction_goes_through_all_splits() -> None:
    data = ToyFacesDataModule(train=5, validation=4, test=3)
    paths = [path for batch in data.predict_dataloader() for path in batch.path]
    assert paths == [
        *(f"toyfaces/train/{i}" for i in range(5)),
        *(f"toyfaces/validation/{i}" for i in range(4)),
        *(f"toyfaces/test/{i}" for i in range(3)),
    ]


def test_workers_change_nothing() -> None:
    alone, helped = (ToyFacesDataModule(validation=6, num_workers=n) for n in (0, 1))
    for a, b in zip(alone.val_dataloader(), helped.val_dataloader(), strict=True):
        assert torch.equal(a.image, b.image) and a.path == b.path


def test_the_data_module_draws_the_truth_of_an_edit() -> None:
    data = ToyFacesDataModule(test=8, where={"test": {"Smiling": 0}})
    batch = next(iter(data.test_dataloader()))
    torch.testing.assert_close(
        data.counterfactual(batch.index, "test"), batch.image, atol=1e-6, rtol=0
    )
    truth = data.counterfactual(batch.index.tolist(), "test", Smiling=1)
    change = (truth - batch.image).abs()
    assert change[:, :, 18:].amax((1, 2, 3)).min() > 0.2 and change[:, :, :16].max() < 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"world": "tset"}, "want a seed or one of train"),
        ({"n": 0}, "at least 1"),
        ({"where": {"Smilling": 1}}, "Smilling=1: want 0 or 1"),
        ({"where": {"Smiling": 2}}, "Smiling=2: want 0 or 1"),
        ({"where": {"Bald": 1, "Bangs": 1}}, "has 0 such faces"),
    ],
)
def test_toyfaces_refuses(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(HslError, match=message) as raised:
        ToyFaces(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_the_data_module_refuses_an_unknown_split() -> None:
    with pytest.raises(HslError, match="want one of train, validation, test"):
        ToyFacesDataModule(where={"tset": {"Smiling": 0}})
    with pytest.raises(HslError, match="want one of train, validation, test"):
        ToyFacesDataModule().counterfactual([0], "val", Smiling=1)
    with pytest.raises(HslError, match="want 0 or 1"):
        ToyFacesDataModule().counterfactual([0], "test", Smilling=1)


def test_a_world_is_what_it_was_when_the_models_were_trained() -> None:
    """Shipped models and figures depend on these faces: a failure here means retraining."""
    factors = sample(range(1000), WORLDS["test"])
    assert labels(factors).sum().item() == 5662
    assert factors.nuisances.double().sum().item() == pytest.approx(10464.2507, abs=1e-3)
    assert render(factors[:64]).double().mean().item() == pytest.approx(-0.0728975, abs=1e-6)
