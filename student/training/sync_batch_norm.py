"""Batch norm with statistics of the whole step over all workers, so that W workers learn what one worker learns.

torch's own SyncBatchNorm needs GPUs. This one is two all-reduces of a few numbers on any backend.
"""

# B images of this worker, C channels
from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import FunctionCtx


class _SumOverWorkers(torch.autograd.Function):
    """The sum over workers. Its gradient is the sum of theirs."""

    @staticmethod
    def forward(context: FunctionCtx, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: FunctionCtx, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def _sum_over_workers(values: Tensor) -> Tensor:
    return cast(Tensor, _SumOverWorkers.apply(values))  # type: ignore[no-untyped-call]


class SyncedBatchNorm(nn.BatchNorm2d):
    """A batch norm over all workers in training. Names and buffers are those of the plain one."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the normalized values [B, C, H, W]."""
        if not self.training:
            return super().forward(x_BCHW)
        x = x_BCHW.float()
        own = x.new_tensor([x.numel() / x.shape[1]])
        sums = _sum_over_workers(torch.cat([x.sum((0, 2, 3)), own]))
        sums_C, count = sums[:-1], sums[-1].detach()
        mean_C = sums_C / count
        centered = x - mean_C[:, None, None]
        variance_C = _sum_over_workers(centered.square().sum((0, 2, 3))) / count
        self._update_running(mean_C.detach(), variance_C.detach() * count / (count - 1))
        scale_C = self.weight * (variance_C + self.eps).rsqrt()
        return (centered * scale_C[:, None, None] + self.bias[:, None, None]).to(x_BCHW.dtype)

    @torch.no_grad()
    def _update_running(self, mean_C: Tensor, variance_C: Tensor) -> None:
        momentum = 0.1 if self.momentum is None else self.momentum
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.lerp_(mean_C, momentum)
            self.running_var.lerp_(variance_C, momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def synchronize(model: nn.Module) -> None:
    """Replace every batch norm of the model by a synced one, in place. Its tensors are not copied."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncedBatchNorm
