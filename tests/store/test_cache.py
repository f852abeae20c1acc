"""The cache of tensors computes once, and survives damage."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hsl.store import Store, key_of
from hsl.store.folder import records
from runs import asyrp, saved_backbone


@pytest.fixture(params=["memory", "disk"])
def store(request, tmp_path: Path) -> Store:
    return Store(None if request.param == "memory" else tmp_path / "cache")


def record(value: float) -> dict[str, torch.Tensor]:
    return {"a": torch.full((2, 3), value), "n": torch.tensor([int(value)])}


def test_what_is_put_comes_back(store: Store) -> None:
    key = key_of("x", 1)
    assert store.get(key) is None
    store.put(key, record(2))
    found = store.get(key)
    assert found is not None and set(found) == {"a", "n"}
    assert torch.equal(found["a"], record(2)["a"]) and found["n"].dtype == torch.int64


def test_slices_and_gradients_are_kept_apart_from_their_tensor(store: Store) -> None:
    whole = torch.zeros(4, 5, requires_grad=True)
    kept = store.put("0" * 32, {"row": whole[:, 1]})
    assert not kept["row"].requires_grad and kept["row"].is_contiguous()
    assert torch.equal(store.get("0" * 32)["row"], torch.zeros(4))


def test_many_computes_only_what_is_missing(store: Store) -> None:
    asked: list[list[int]] = []

    def compute(rows: list[int]) -> list[dict[str, torch.Tensor]]:
        asked.append(rows)
        return [record(i) for i in rows]

    keys = [key_of(i) for i in range(4)]
    store.many([keys[1], keys[3]], lambda rows: [record([1, 3][i]) for i in rows])
    found = store.many(keys, compute)
    assert asked == [[0, 2]]
    assert [int(r["n"]) for r in found] == [0, 1, 2, 3]
    store.many(keys, compute)
    assert asked == [[0, 2]]
    twice = store.many([key_of(9), keys[0], key_of(9)], compute)  # as a sweep asks
    assert asked == [[0, 2], [0]]
    assert [int(r["n"]) for r in twice] == [0, 0, 0]


def test_many_refuses_too_few_results(store: Store) -> None:
    with pytest.raises(ValueError, match="shorter"):
        store.many([key_of(0), key_of(1)], lambda rows: [record(0)])


def test_a_folder_is_shared(tmp_path: Path) -> None:
    Store(tmp_path).put(key_of("x"), record(5))
    assert int(Store(tmp_path).get(key_of("x"))["n"]) == 5
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".safetensors"]


def test_a_damaged_record_is_made_anew(tmp_path: Path) -> None:
    store, key = Store(tmp_path), key_of("x")
    store.put(key, record(1))
    (path,) = tmp_path.rglob("*.safetensors")
    for damage in (path.read_bytes()[:40], b"", b"not a safetensors file"):
        path.write_bytes(damage)
        assert store.get(key) is None
        (made,) = store.many([key], lambda rows: [record(7)])
        assert int(made["n"]) == 7 and int(Store(tmp_path).get(key)["n"]) == 7


def test_keys_are_of_the_content() -> None:
    x = torch.arange(6.0)
    assert key_of("a", x, [1, 2]) == key_of("a", x.clone(), [1, 2])
    assert key_of({"b": 1, "a": 2}) == key_of({"a": 2, "b": 1})
    different = [
        key_of("a", x), key_of("b", x), key_of("a", x + 1), key_of("a", x.double()),
        key_of("a", x.view(2, 3)), key_of("a", x.view(3, 2)), key_of("a"), key_of(x, "a"),
        key_of("a", x, 1), key_of("a", x, "1"), key_of("ab"), key_of("a", "b"),
    ]  # fmt: skip
    assert len(set(different)) == len(different)
    strided = torch.arange(12.0)[::2]
    assert key_of(strided) == key_of(strided.contiguous())


def test_keys_of_half_precision() -> None:
    assert key_of(torch.zeros(2, dtype=torch.float16)) != key_of(torch.zeros(2))
    assert key_of(torch.zeros(2, dtype=torch.bfloat16)) != key_of(torch.ones(2).bfloat16())


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 0x80  # a sign
    path.write_bytes(raw)


def test_a_record_whose_values_have_changed_is_made_anew(tmp_path: Path) -> None:
    store, key = Store(tmp_path), key_of("x")
    store.put(key, record(1))
    (path,) = tmp_path.rglob("*.safetensors")
    assert store.has(key) and int(store.tensor(key, "n")) == 1
    flip(path)
    for reader in (store, Store(tmp_path)):
        assert not reader.has(key) and reader.get(key) is None
        with pytest.raises(KeyError):
            reader.tensor(key, "n")
    store.ensure([key], lambda rows: [record(7)])
    assert store.has(key) and int(store.tensor(key, "n")) == 7
    flip(path)
    (made,) = store.many([key], lambda rows: [record(8)])
    assert int(made["n"]) == 8 and int(Store(tmp_path).get(key)["n"]) == 8


def test_records_of_older_versions_are_compared_too(tmp_path: Path) -> None:
    store, key = Store(tmp_path), key_of("x")
    path = tmp_path / key[:2] / f"{key}.safetensors"
    path.parent.mkdir()
    said = {"about": {}, "crc32": 813176692}
    save_file({"a": torch.arange(3.0)}, path, metadata={"hsl": json.dumps(said)})
    assert torch.equal(store.get(key)["a"], torch.arange(3.0))
    flip(path)
    assert store.get(key) is None and not store.has(key)


def test_a_record_of_another_shape_or_of_integers_counts_as_none(store: Store) -> None:
    key, asked = key_of("x"), []

    def compute(rows: list[int]) -> list[dict[str, torch.Tensor]]:
        asked.append(rows)
        return [{"a": torch.zeros(2, 3)}]

    shapes = {"a": (2, -1)}
    for other in ({"a": torch.zeros(3, 2)}, {"a": torch.zeros(2, 3).long()}, {"b": torch.zeros(2)},
                  {"a": torch.zeros(2, 3), "b": torch.zeros(1)}):  # fmt: skip
        for read in (store.many, store.ensure):
            asked.clear()
            store.put(key, other)
            assert store.get(key) is not None and store.get(key, shapes) is None
            assert store.has(key) and not store.has(key, shapes)
            read([key], compute, None, shapes)
            read([key], compute, None, shapes)
            assert asked == [[0]] and store.has(key, shapes)


def test_ensure_reads_nothing_that_is_there(store: Store, monkeypatch) -> None:
    asked: list[list[int]] = []

    def compute(rows: list[int]) -> list[dict[str, torch.Tensor]]:
        asked.append(rows)
        return [record(i) for i in rows]

    keys = [key_of(i) for i in range(4)]
    store.put(keys[2], record(2))
    monkeypatch.setattr(store, "get", None)  # not to be called
    store.ensure([*keys, keys[0]], compute)
    store.ensure(keys, compute)
    assert asked == [[0, 1, 3]] and all(store.has(key) for key in keys)
    assert not store.has(key_of(9))
    with pytest.raises(ValueError, match="shorter"):
        store.ensure([key_of(5), key_of(6)], lambda rows: [record(0)])


def test_ensure_makes_a_truncated_record_anew(tmp_path: Path) -> None:
    store, key = Store(tmp_path), key_of("x")
    store.put(key, record(1))
    (path,) = tmp_path.rglob("*.safetensors")
    for damage in (path.read_bytes()[:-1], b""):
        path.write_bytes(damage)
        assert not store.has(key)
        store.ensure([key], lambda rows: [record(7)])
        assert store.has(key) and int(store.tensor(key, "n")) == 7


def test_what_a_record_says_is_no_part_of_its_key(tmp_path: Path) -> None:
    store, key = Store(tmp_path), key_of("x")
    store.put(key, record(1), {"kind": "x_T", "grid": [0, 999]})
    (entry,) = records(tmp_path)
    assert entry.about == {"kind": "x_T", "grid": [0, 999]} and entry.path.stem == key
    store.many([key], lambda rows: [record(2)], {"kind": "other"})
    assert records(tmp_path)[0].kind == "x_T"


def test_inverted_latents_say_what_they_are(tmp_path: Path) -> None:
    method = asyrp(saved_backbone(tmp_path / "backbone"), cache=str(tmp_path / "cache"))
    method.x_T(torch.zeros(2, 3, 8, 8))
    (entry,) = records(tmp_path / "cache")  # of two images that are the same
    assert entry.about == {
        "kind": "x_T", "backbone": method.backbone.hash, "tap": "after",
        "grid": method.grid, "refine": 1, "made_by": "Asyrp",
    }  # fmt: skip
