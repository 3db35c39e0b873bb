"""Models as ONNX files: onnxruntime computes the scores of the model itself, for users and for any history."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from retrieval_models import ITEMS_OF_USER, N_ITEMS, N_USERS, ROWS, bpr_mf, two_tower
from shell import recsweep, tiny_config
from torch import Tensor, nn

from recsweep import Run, UserError
from recsweep.api import onnx_export
from recsweep.api.onnx_export import export_onnx
from recsweep.models.base import Training
from recsweep.models.biased_mf import MLP, BiasedMF, SVDpp
from recsweep.models.bpr_mf import BPRMF
from recsweep.models.ials import IALS
from recsweep.runs import build
from recsweep.seeding import generator

pytestmark = pytest.mark.xdist_group("api")
USERS = torch.arange(N_USERS)


def randomise(model: Any) -> Any:
    """The model with random parameters everywhere, in eval mode."""
    for number, parameter in enumerate(model.parameters()):
        nn.init.normal_(parameter, 0.1, 0.5, generator=generator(number))
    return model.eval()


@cache
def training() -> Training:
    return build.training(tiny_config("regularization=none"))


def rating_model(kind: type[BiasedMF], **options: Any) -> BiasedMF:
    return randomise(kind(ROWS, training(), embedding_dim=3, init_std=0.5, **options))


def ials() -> IALS:
    model = IALS(
        ROWS, embedding_dim=2, l2=0.1, unobserved_weight=0.3, frequency_exponent=1, epochs=3, init_std=0.1, seed=0
    )
    model.fit(ROWS)
    return model


def tower(history: str, **options: Any) -> Any:
    return randomise(two_tower(history=history, user_ids=False, **options))


RATING: dict[str, Callable[[], BiasedMF]] = {
    "biased_mf": lambda: rating_model(BiasedMF),
    "svdpp": lambda: rating_model(SVDpp, item_side=True, user_features=[], item_features=["colour"]),
    "mlp": lambda: rating_model(MLP, hidden=[5, 4]),
}
OF_USERS: dict[str, Callable[[], Any]] = {
    "bpr_mf": bpr_mf,
    "ials": ials,
    "two_tower": lambda: randomise(two_tower(history="transformer", item_features=["colour"])),
}
OF_HISTORIES: dict[str, Callable[[], Any]] = {
    "mean": lambda: tower("mean", max_history=9, item_features=["colour"], similarity="dot", hidden=[]),
    "attention": lambda: tower("attention", max_history=3, heads=3),
    "gru": lambda: tower("gru", max_history=3),
    "transformer": lambda: tower("transformer", max_history=3, blocks=2, heads=2),
    "relative": lambda: tower("transformer", max_history=9, positions="relative", learn_scale=True),
}


def run_file(path: Path, **inputs: Any) -> Tensor:
    """The file's output in onnxruntime."""
    session = onnxruntime.InferenceSession(path)
    return torch.from_numpy(session.run(None, {name: np.array(values) for name, values in inputs.items()})[0])


def export(model: Any, folder: Path) -> Path:
    export_onnx(model, ROWS, folder / "model.onnx")
    onnx.checker.check_model(folder / "model.onnx", full_check=True)
    return folder / "model.onnx"


@pytest.mark.parametrize("name", RATING)
def test_ratings_of_pairs(name: str, tmp_path: Path) -> None:
    model = RATING[name]()
    user, item = torch.cartesian_prod(USERS, torch.arange(N_ITEMS)).T
    scores = run_file(export(model, tmp_path), user=user, item=item)
    torch.testing.assert_close(scores, model.score(user, item).detach())


@pytest.mark.parametrize("name", OF_USERS)
def test_scores_of_users(name: str, tmp_path: Path) -> None:
    model = OF_USERS[name]()
    users = [4, 0, 0]
    scores = run_file(export(model, tmp_path), user=users)
    torch.testing.assert_close(scores, model.score_all(torch.tensor(users)).detach())
    with pytest.raises(Exception, match="out of data bounds"):
        run_file(tmp_path / "model.onnx", user=[-1])


@pytest.mark.parametrize("name", OF_HISTORIES)
def test_scores_of_histories_with_padding_anywhere(name: str, tmp_path: Path) -> None:
    """Those of users 0, 1, 3 (who has none) and 2; some are longer than `max_history`."""
    assert (ITEMS_OF_USER[0], ITEMS_OF_USER[1], ITEMS_OF_USER[2]) == ([1, 3, 4, 5], [2, 0, 3], [5])
    model = OF_HISTORIES[name]()
    expected = model.score_all(torch.tensor([0, 1, 3, 2])).detach()
    path = export(model, tmp_path)
    history = [[1, 3, 4, 5, -1], [-1, 2, -1, 0, 3], [-1] * 5, [-1, -1, -1, -1, 5]]
    torch.testing.assert_close(run_file(path, history=history), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(run_file(path, history=[[5]]), expected[3:], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(run_file(path, history=[[1, 3, 4, 7]]), expected[:1], atol=1e-2)


def test_scores_of_histories_with_times(tmp_path: Path) -> None:
    """Gaps of 3, 4 and 2**40 seconds: at a power of two, and beyond the last bucket."""
    seconds = torch.tensor([0, 3, 7, 7 + 2**40])
    data = replace(ROWS, timestamp=seconds[ROWS.timestamp])
    model = tower("transformer", max_history=9, positions="relative", time_gaps=True, data=data)
    history, times = [[-1, 1, 3, 4, 5], [2, 0, -1, -1, 3]], [[9, 0, 3, 7, 7 + 2**40], [0, 3, 1, 1, 7]]
    scores = run_file(export(model, tmp_path), history=history, seconds=times)
    torch.testing.assert_close(scores, model.score_all(torch.tensor([0, 1])).detach(), rtol=1e-5, atol=1e-5)


def test_the_verb_writes_one_file_with_the_raw_ids(bpr: Run, tmp_path: Path) -> None:
    outcome = recsweep(tmp_path, "export", f"run={bpr.folder}", "to=model.onnx")
    assert outcome == (0, "model.onnx\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    metadata = onnxruntime.InferenceSession(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    users, items = (json.loads(metadata[key]) for key in ("user_ids", "item_ids"))
    assert users == bpr.vectors().users.index.tolist() and len(items) == 100
    scores = run_file(tmp_path / "model.onnx", user=[users.index(7)])[0]
    expected = bpr.score(pd.DataFrame({"user": 7, "item": items}))
    assert scores.numpy() == pytest.approx(expected.to_numpy(), abs=1e-5)


class OtherScores(BPRMF):
    """A model whose scores are not the products of its vectors."""

    def score_all(self, user: Tensor) -> Tensor:
        return super().score_all(user) + (user == 4)[:, None] * 1e-3


def test_a_file_with_other_scores_is_not_written(tmp_path: Path) -> None:
    model = bpr_mf().eval()
    model.__class__ = OtherScores
    with pytest.raises(UserError, match=r"model\.onnx: not written: .* differ from the model's by up to 0\.001, "):
        export(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_form_is_refused(ease: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"model EASE has no form as ONNX: .*; biased_mf, .* and two_tower do$"):
        ease.export(tmp_path / "model.onnx")
    with pytest.raises(UserError, match=r"model\.bin: the name of the file ends in \.onnx$"):
        ease.export(tmp_path / "model.bin")
    with pytest.raises(UserError, match=r"there is no folder .*/no$"):
        ease.export(tmp_path / "no" / "model.onnx")
    outcome = recsweep(tmp_path, "export", f"run={ease.folder}")
    assert outcome == (2, "", "recsweep: into which file? give to=model.onnx\n")
    monkeypatch.setattr(onnx_export, "MAX_BYTES", 2**20 + 300)
    with pytest.raises(UserError, match=r"^the model takes 0\.0 GB, and an ONNX file less than 2\.1 GB: "):
        export(bpr_mf().eval(), tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"^export needs onnx and onnxruntime: pip install 'recsweep\[onnx\]'$"):
        ease.export(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
