"""torchvision's operators: used if they work, ignored if they do not, and equal to ours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from teacher.models.glip import nms
from teacher.models.glip.layers import deform_conv, torchvision_ops


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Put a small `torchvision` with the given `ops` module first on the path."""

    def write(ops: str) -> None:
        (tmp_path / "torchvision").mkdir()
        (tmp_path / "torchvision/__init__.py").write_text("")
        (tmp_path / "torchvision/ops.py").write_text(ops)
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(tmp_path)
        torchvision_ops.torchvision_ops.cache_clear()

    monkeypatch.delenv(torchvision_ops.SWITCH, raising=False)
    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    torchvision_ops.torchvision_ops.cache_clear()


WORKING = """
from teacher.models.glip.layers.deform_conv import plain_deform_conv
from teacher.models.glip.nms import plain_nms
calls = []

def deform_conv2d(input, offset, weight, bias=None, stride=1, padding=0, mask=None):
    calls.append(tuple(weight.shape))
    return plain_deform_conv(input, offset, mask, weight, bias, stride)

def nms(boxes, scores, iou_threshold):
    calls.append(boxes.tolist())
    stays = plain_nms(boxes - boxes.new_tensor([0, 0, 1, 1]), scores, iou_threshold).nonzero()[:, 0]
    return stays[scores[stays].argsort(descending=True)]
"""


def test_operators_that_work_are_used(install):
    install(WORKING)
    x, offset, mask = torch.randn(1, 2, 4, 4), torch.randn(1, 18, 4, 4), torch.rand(1, 9, 4, 4)
    weight, boxes = torch.randn(3, 2, 3, 3), torch.tensor([[0.0, 0, 9, 9], [1, 0, 10, 9], [30, 0, 39, 9]])

    ours = deform_conv.modulated_deform_conv(x, offset, mask, weight, None, 1)
    stays = nms.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.6)

    assert torch.equal(ours, deform_conv.plain_deform_conv(x, offset, mask, weight, None, 1))
    assert stays.tolist() == [False, True, True]
    ops = torchvision_ops.torchvision_ops()
    assert ops.calls[1:] == [(3, 2, 3, 3), (boxes + torch.tensor([0, 0, 1, 1])).tolist()]


BROKEN = [
    "raise RuntimeError('operator torchvision::nms does not exist')",
    "raise ImportError('undefined symbol')",
    "def deform_conv2d(*args, **settings): raise NotImplementedError('no CPU kernel')",
    "def deform_conv2d(input, *args, **settings): return input",
]


@pytest.mark.parametrize("ops", BROKEN)
def test_operators_that_do_not_work_are_as_good_as_absent(install, ops):
    install(ops)

    assert torchvision_ops.torchvision_ops() is None


def test_a_switch_leaves_them_aside(install, monkeypatch):
    install(WORKING)
    monkeypatch.setenv(torchvision_ops.SWITCH, "0")

    assert torchvision_ops.torchvision_ops() is None


def test_the_real_operators_agree_with_ours():
    ops = torchvision_ops.torchvision_ops()
    if ops is None:
        pytest.skip("needs a working torchvision beside torch; this environment does without")
    torch.manual_seed(0)
    for stride, size in ((1, (7, 9)), (2, (4, 5))):
        given = (
            torch.randn(2, 4, 7, 9),
            3 * torch.randn(2, 18, *size),
            torch.rand(2, 9, *size),
            torch.randn(5, 4, 3, 3),
            torch.randn(5),
            stride,
        )
        assert torch.allclose(
            deform_conv.modulated_deform_conv(*given), deform_conv.plain_deform_conv(*given), atol=1e-4
        )
    corner = torch.randint(0, 40, (300, 2)).float()
    boxes = torch.cat((corner, corner + torch.randint(5, 30, (300, 2))), dim=1)
    scores = torch.rand(300)
    assert torch.equal(nms.nms(boxes, scores, 0.6), nms.plain_nms(boxes, scores, 0.6))
