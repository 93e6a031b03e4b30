"""A cached step that draws from PyTorch's generator has the numbers of its replicate."""

from __future__ import annotations

from typing import Any

import torch

from crystallize import Experiment, SeedPlugin, pipeline_step


@pipeline_step(cacheable=True)
def draw(data: Any) -> Any:
    return data, {"drawn": torch.rand(1).item()}


@pipeline_step()
def draw_more(data: Any) -> Any:
    return data, {"more": torch.rand(1).item()}


def test_what_draws_from_the_generator_of_pytorch_has_the_numbers_of_its_replicate() -> None:
    def metrics(**options: Any) -> tuple[dict[str, list[Any]], int]:
        seeding = SeedPlugin(seed=1, seed_fn=torch.manual_seed)
        result = Experiment(lambda: 3, [draw, draw_more], name="drawn", plugins=[seeding], **options).run(
            replicates=3
        )
        return result.metrics.baseline.metrics, result.explain_cache().count("hit")

    expected, _ = metrics(cache=False)
    assert len(set(expected["drawn"])) == 3
    assert metrics() == (expected, 0)
    assert metrics() == (expected, 3)
