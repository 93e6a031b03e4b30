"""The hasher of PyTorch's tensors keeps the contract of hashers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from crystallize.hashing.torch_types import content_of
from crystallize.testing import HasherContract

TABLE = torch.arange(6.0).reshape(2, 3)


def layer(seed: int) -> torch.nn.Linear:
    torch.manual_seed(seed)
    return torch.nn.Linear(2, 2)


class TestTorch(HasherContract):
    values = [
        *(TABLE, TABLE.T, TABLE.double(), TABLE.bfloat16(), TABLE.half(), TABLE.int(), TABLE.bool()),
        *(TABLE.to(torch.complex64), TABLE.clone().requires_grad_()),
        *(
            torch.tensor(1.0),
            torch.tensor([1.0]),
            torch.tensor([0.0]),
            torch.tensor([-0.0]),
            torch.zeros(0, 3),
        ),
        *(torch.nn.Parameter(TABLE), layer(1), layer(2), torch.Generator().manual_seed(1)),
        *(torch.float32, torch.float64, torch.Size([1, 2])),
    ]
    equal = [
        (TABLE.T, TABLE.T.contiguous()),
        (TABLE[:, ::2], TABLE[:, ::2].clone()),
        (TABLE.bfloat16().T, TABLE.bfloat16().T.contiguous()),
        (TABLE.to(torch.complex64).conj(), TABLE.to(torch.complex64).conj().resolve_conj()),
        (layer(1), layer(1)),
    ]
    bad_values = [TABLE.to_sparse()]

    @pytest.fixture
    def hasher(self) -> Any:
        return content_of
