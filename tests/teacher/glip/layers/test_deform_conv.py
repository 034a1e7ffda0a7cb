"""Deformable convolution compared with plain convolution and with numbers computed by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from teacher.models.glip.layers.deform_conv import modulated_deform_conv
from teacher.models.glip.layers.dyhead import read_flat_memory

torch.manual_seed(0)
X = torch.randn(2, 4, 7, 9, dtype=torch.float64)
WEIGHT, BIAS = torch.randn(5, 4, 3, 3, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
CENTRE_ONLY = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
CENTRE_ONLY[..., 1, 1] = 1


def still(stride: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    size = (-(-7 // stride), -(-9 // stride))
    return torch.zeros(2, 18, *size, dtype=torch.float64), torch.ones(2, 9, *size, dtype=torch.float64)


@pytest.mark.parametrize("stride", [1, 2])
def test_without_offsets_and_with_a_full_mask_it_is_the_plain_convolution(stride):
    offset, mask = still(stride)

    ours = modulated_deform_conv(X, offset, mask, WEIGHT, BIAS, stride)

    assert torch.allclose(ours, F.conv2d(X, WEIGHT, BIAS, stride, padding=1), atol=1e-12)


def test_the_mask_scales_its_own_tap():
    offset, mask = still()
    mask[:, 0] = 0.25
    scaled = WEIGHT.clone()
    scaled[:, :, 0, 0] *= 0.25

    ours = modulated_deform_conv(X, offset, mask, WEIGHT, BIAS, 1)

    assert torch.allclose(ours, F.conv2d(X, scaled, BIAS, padding=1), atol=1e-12)


def test_offsets_are_row_then_column_of_each_tap():
    x = torch.arange(12, dtype=torch.float64).view(1, 1, 3, 4)
    offset, mask = torch.zeros(1, 18, 3, 4, dtype=torch.float64), torch.ones(1, 9, 3, 4, dtype=torch.float64)
    offset[:, 8] = 1  # the center tap, one row down

    assert modulated_deform_conv(x, offset, mask, CENTRE_ONLY, None, 1)[0, 0, 0].tolist() == [4, 5, 6, 7]


def test_half_a_pixel_is_the_mean_and_beyond_the_border_fades_to_zero():
    x = torch.tensor([[[[2.0, 4.0, 8.0]]]], dtype=torch.float64)
    offset, mask = torch.zeros(1, 18, 1, 3, dtype=torch.float64), torch.ones(1, 9, 1, 3, dtype=torch.float64)
    offset[:, 9] = 0.5  # the center tap, half a column right

    assert modulated_deform_conv(x, offset, mask, CENTRE_ONLY, None, 1).flatten().tolist() == [3, 6, 4]


def test_gradients_of_input_offset_and_mask_are_right():
    torch.manual_seed(1)
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    offset = (torch.rand(1, 18, 4, 5, dtype=torch.float64) * 0.6 + 0.2).requires_grad_()
    mask = torch.rand(1, 9, 4, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, 3, 3, dtype=torch.float64)

    assert torch.autograd.gradcheck(
        lambda *args: modulated_deform_conv(*args, weight, None, 1), (x, offset, mask)
    )


def test_the_flat_read_lays_the_first_numbers_of_memory_out_anew():
    finer = torch.arange(2 * 2 * 4 * 4).view(2, 2, 4, 4)

    coarse = read_flat_memory(finer, torch.Size((2, 2)))

    assert coarse[0].flatten().tolist() == list(range(8))
    assert coarse[1].flatten().tolist() == list(range(32, 40))


def test_each_image_of_a_batch_is_convolved_for_itself():
    offset, mask = torch.randn(2, 18, 7, 9, dtype=torch.float64), torch.rand(2, 9, 7, 9, dtype=torch.float64)

    together = modulated_deform_conv(X, offset, mask, WEIGHT, BIAS, 1)
    alone = [modulated_deform_conv(X[[i]], offset[[i]], mask[[i]], WEIGHT, BIAS, 1) for i in (0, 1)]

    assert torch.allclose(together, torch.cat(alone), atol=1e-12)
