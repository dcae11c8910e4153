# SPDX-License-Identifier: Apache-2.0
"""The linear layer of the transformer blocks."""
import torch
from torch import nn, Tensor


class Linear(nn.Linear):
    """
    Linear layer whose product oneDNN computes where it is the fastest: inference on a CPU.

    Otherwise PyTorch gives fp32 products of a CPU to its BLAS, which spends a fourth of the time
    on packing weights that each image uses once. Results differ by rounding only.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        if not _suits_onednn(x):
            return super().forward(x)
        rows = x.reshape(-1, self.in_features)
        product = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, 'none', [], '')
        return product.view(*x.shape[:-1], self.out_features)


def _suits_onednn(x: Tensor) -> bool:
    return (x.device.type == 'cpu' and x.dtype is torch.float32 and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled('cpu') and not torch.jit.is_tracing()
            and not torch.compiler.is_compiling() and torch.backends.mkldnn.is_available()
            and hasattr(torch.ops.mkldnn, '_linear_pointwise'))
