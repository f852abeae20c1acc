"""Parity with the recorded boundaries of BoundaryDiffusion (golden/boundary, sections 2 and 5)."""

import pytest
import torch
from torch import Tensor

from hsl.solvers import SVM, cross, figures, gram
from linear import cosine
from recorded import files as recorded

pytestmark = pytest.mark.golden


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("space", ["h", "z"])
def test_boundary_search(golden_dir, space: str, dtype: torch.dtype) -> None:
    for about, file in recorded(golden_dir("boundary"), "boundary_search_*.safetensors"):
        if f"{space}.coef" not in file:
            pytest.skip(f"no recorded boundary in {space}")
        train, test = (file[f"{part}.{space}"].to(dtype) for part in ("train", "test"))
        labels, known = file["train.label"][:, None], file["test.label"][:, None]
        solution = SVM()(gram(train.split(10)), labels)
        w = solution.coefficients @ train.flatten(1).double()
        assert relative(w, file[f"{space}.coef_exact"]) < 1e-5
        assert torch.allclose(solution.intercept, file[f"{space}.intercept_exact"], atol=1e-4)
        alpha_y = file[f"{space}.alpha_y_exact"]
        assert relative(solution.coefficients[0], alpha_y) < 1e-4
        assert relative(w, file[f"{space}.coef"]) < 1e-3
        assert cosine(w, file[f"{space}.coef"]) > 0.999999
        decision = solution.decision(cross(test.split(7), train.split(10)))
        assert torch.equal(torch.where(decision[:, 0] > 0, 1, -1), file[f"{space}.pred_test"])
        assert torch.allclose(decision[:, 0], file[f"{space}.dec_test"], atol=5e-3)
        accuracy = figures(decision, known).accuracy
        assert float(accuracy) == pytest.approx(about["info"][space]["test_acc"], abs=1e-9)


def test_several_attributes_that_cannot_be_separated(golden_dir) -> None:
    for about, file in recorded(golden_dir("boundary"), "svm_multi_*.safetensors"):
        train, test = (file[f"X_{part}"].double() for part in ("train", "test"))
        solution = SVM(about["C"])(gram([train]), file["Y_train"])
        w = solution.coefficients @ train
        decision = solution.decision(cross([test], [train])).mT
        for a, info in enumerate(about["info"]):
            assert relative(w[a], file["coef_exact"][a]) < 1e-5
            assert relative(w[a], file["coef"][a]) < 2 * info["rel"] + 1e-5
            multipliers = solution.coefficients[a].abs()
            assert int((multipliers == about["C"]).sum()) == info["n_bounded"]
            assert int((multipliers > 0).sum()) == info["n_sv"]
        assert torch.allclose(solution.intercept, file["intercept_exact"], atol=1e-4)
        sure = file["dec_test"].abs() > 1e-2
        predicted = torch.where(decision > 0, 1, -1)
        assert torch.equal(predicted[sure], file["pred_test"][sure])
        accuracy = figures(decision.mT, file["Y_test"]).accuracy
        expected = torch.tensor([info["test_acc"] for info in about["info"]]).double()
        assert torch.allclose(accuracy, expected, atol=1e-9)


def test_accuracy_by_timestep(golden_dir) -> None:
    for about, file in recorded(golden_dir("boundary"), "mixing_*.safetensors"):
        alpha_bar = file["alphas_cumprod"].double()
        half = len(file["x0"]) // 2
        for t, expected in zip(about["t_grid"], about["svm_acc"], strict=True):
            a = alpha_bar[t]
            x = a.sqrt() * file["x0"].double() + (1 - a).sqrt() * file["noise"].double()
            labels = torch.where(file["label"] > 0, 1, -1)[:, None]
            solution = SVM()(gram([x[:half]]), labels[:half])
            decision = solution.decision(cross([x[half:]], [x[:half]]))
            assert float(figures(decision, labels[half:]).accuracy) == pytest.approx(expected)
