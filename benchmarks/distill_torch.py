"""The peer of ``distill_throughput.py``: the same steps in PyTorch and transformers.

Written as one who knows PyTorch would: transformers' own models with their sdpa
attention, the teacher in inference mode, the scores at masked places alone, fused
AdamW, clipping by foreach kernels; compiled by torch.compile, or under bfloat16
autocast, where that is asked for.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from torch import nn

from autodistill.models.config import BertConfig, EncoderConfig

Batch = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class PeerStep:
    """One way of doing the step.

    Attributes:
        teacher: Run it in the step, rather than read its outputs.
        everywhere: Score all positions over the vocabulary and pick the masked ones
            afterwards, as ``BertForMaskedLM`` does when called as it comes.
        compiled: By torch.compile.
        half: Under bfloat16 autocast.
    """

    teacher: bool
    everywhere: bool = False
    compiled: bool = False
    half: bool = False


def masked_lm(config: EncoderConfig, *, device: str) -> nn.Module:
    """A model of transformers with its masked-LM head, at random."""
    family = transformers.BertConfig, transformers.BertForMaskedLM
    if not isinstance(config, BertConfig):
        family = transformers.MobileBertConfig, transformers.MobileBertForMaskedLM
    made, model = family
    raw = {**asdict(config), "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return model(made(**raw, attn_implementation="sdpa")).to(device)


class Peer:
    """One student and its teacher in PyTorch.

    Args:
        config: The student's.
        teacher: The teacher's.
        weights: The teacher's, by checkpoint name.
        embedding: Which recipe: token states and embeddings, or masked words.
        batches: Arrays by name, one after the other in turns.
        device: As torch names it.
    """

    def __init__(
        self,
        config: EncoderConfig,
        teacher: EncoderConfig,
        weights: Mapping[str, np.ndarray],
        batches: list[dict[str, np.ndarray]],
        *,
        embedding: bool,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(0)
        self.embedding, self.device, self.config = embedding, device, config
        self.width = teacher.hidden_size
        self.teacher = masked_lm(teacher, device=device).eval().requires_grad_(False)
        encoder = {name: torch.tensor(value) for name, value in weights.items()}
        self.teacher.bert.load_state_dict(encoder, strict=False)
        self.batches = [
            {name: torch.tensor(value, device=device) for name, value in batch.items()}
            for batch in batches
        ]

    def stepper(self, how: PeerStep) -> Callable[[int], float]:
        """A function that does so many steps and returns the last loss."""
        student = masked_lm(self.config, device=self.device)
        layers = nn.ModuleDict({"student": student})
        if self.embedding:
            layers["tokens"] = nn.Linear(self.config.hidden_size, self.width)
            layers["passage"] = nn.Linear(self.config.hidden_size, self.width)
        layers.to(self.device)
        if self.embedding:
            del student.cls  # with what it ties to the word embeddings left in place
        params = list(layers.parameters())
        optimiser = torch.optim.AdamW(
            [
                {"params": [p for p in params if p.ndim > 1], "weight_decay": 0.01},
                {"params": [p for p in params if p.ndim < 2], "weight_decay": 0.0},
            ],
            lr=1e-4,
            betas=(0.9, 0.98),
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, 100_000)

        def losses(batch: Batch) -> torch.Tensor:
            autocast = torch.autocast(self.device, torch.bfloat16) if how.half else nullcontext()
            with autocast:
                states = self._teacher_states(batch) if how.teacher else None
                hidden = student.base_model(batch["ids"], batch["mask"]).last_hidden_state
                if self.embedding:
                    return self._embedding_loss(layers, hidden, states, batch)
                return self._masked_loss(student, hidden, states, batch, how)

        run = torch.compile(losses) if how.compiled else losses
        done = 0

        def steps(count: int) -> float:
            nonlocal done
            loss = None
            for _ in range(count):
                batch = self.batches[done % len(self.batches)]
                done += 1
                loss = run(batch)
                loss.backward()
                nn.utils.clip_grad_norm_(params, 1.0, foreach=True)
                optimiser.step()
                schedule.step()
                optimiser.zero_grad(set_to_none=True)
            return float(loss.detach())  # which waits for the device

        return steps

    @torch.no_grad()
    def _teacher_states(self, batch: Batch) -> torch.Tensor:
        return self.teacher.base_model(batch["ids"], batch["mask"]).last_hidden_state

    def _embedding_loss(
        self, layers: nn.ModuleDict, hidden: torch.Tensor, states: torch.Tensor | None, batch: Batch
    ) -> torch.Tensor:
        if states is None:
            shares, passages = batch["states"].float(), batch["passages"]
        else:
            pooled = _mean(states.float(), batch["mask"])
            norm = pooled.norm(dim=-1, keepdim=True).clamp(min=1e-12)
            shares, passages = states.float() / norm[:, None], pooled / norm
        errors = (layers["tokens"](hidden).float() - shares).square().sum(-1)
        tokens = (errors * batch["mask"]).sum() / batch["mask"].sum()
        vectors = layers["passage"](_mean(hidden, batch["mask"]))
        return tokens + 0.1 * (vectors.float() - passages).square().sum(-1).mean()

    def _masked_loss(
        self,
        student: nn.Module,
        hidden: torch.Tensor,
        states: torch.Tensor | None,
        batch: Batch,
        how: PeerStep,
    ) -> torch.Tensor:
        """Half cross-entropy, half divergence from the teacher, at masked places."""
        where = batch["positions"].long()[..., None]

        def scores(model: nn.Module, states: torch.Tensor) -> torch.Tensor:
            if how.everywhere:
                everywhere = model.cls(states)
                return everywhere.gather(1, where.expand(-1, -1, everywhere.shape[-1])).float()
            return model.cls(states.gather(1, where.expand(-1, -1, states.shape[-1]))).float()

        log_q = F.log_softmax(scores(student, hidden), -1)
        labels = batch["labels"].long()[..., None]
        label = -log_q.gather(-1, labels)[..., 0]
        if states is None:
            soft = _top_k_divergence(log_q, batch["top_values"], batch["top_classes"])
        else:
            with torch.no_grad():
                log_p = F.log_softmax(scores(self.teacher, states), -1)
            soft = F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
        weights = batch["weights"].float()
        return ((0.5 * label + 0.5 * soft) * weights).sum() / weights.sum()


def _top_k_divergence(
    log_q: torch.Tensor, log_p: torch.Tensor, classes: torch.Tensor
) -> torch.Tensor:
    """As ``objectives.top_k_kl``: the classes that were kept, and all others as one."""
    known = log_q.gather(-1, classes)
    missing = (1.0 - log_p.exp().sum(-1)).clamp(min=1e-12)
    others = torch.log1p(-known.exp().sum(-1).clamp(max=1 - 1e-6))
    return (log_p.exp() * (log_p - known)).sum(-1) + missing * (missing.log() - others)


def _mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)
