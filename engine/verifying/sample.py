"""What is looked at: a checkpoint's routed experts, as the model itself would get them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.checkpoint.mapped import MappedCheckpoint
from engine.config import ModelConfig
from engine.errors import CheckpointError
from engine.experts.base import ExpertWeights
from engine.model.weights import Weights


@dataclass(frozen=True, slots=True)
class Source:
    """A folder with routed experts."""

    config: ModelConfig
    weights: Weights

    @classmethod
    def open(cls, folder: Path) -> Source:
        """Raises CheckpointError, ``nothing_to_verify`` where there are no routed experts."""
        config = ModelConfig.from_folder(folder)
        found = cls(config, Weights(config, MappedCheckpoint.open(folder), torch.float32))
        if not found.layers:
            raise CheckpointError(
                "nothing_to_verify",
                "this model has no routed experts",
                "choose a model of the Kimi K2 family",
            )
        return found

    @property
    def layers(self) -> list[int]:
        """Those with routed experts."""
        return [i for i in range(self.config.num_hidden_layers) if self.config.is_moe(i)]

    @property
    def count(self) -> int:
        """Routed experts in all layers."""
        return len(self.layers) * self.config.n_routed_experts

    def experts(self, layer: int) -> list[ExpertWeights]:
        """Views of all experts of a layer. Raises CheckpointError."""
        return self.weights.experts(layer)

    def some_layers(self) -> list[int]:
        """First, middle and last."""
        layers = self.layers
        return sorted({layers[0], layers[len(layers) // 2], layers[-1]})

    def some_experts(self, layer: int, count: int) -> list[int]:
        """Always the same ones of a layer."""
        there = range(self.config.n_routed_experts)
        return sorted(random.Random(layer).sample(there, min(count, len(there))))
