"""How likely crystals of a composition are disordered, and in which way.

Ordered (O), substitutional (S), vacancies (V) or both (M). Probabilities are calibrated, and hold for the share of
disordered formulas in the training data unless another share, the prior, is given (Saerens, Latinne, Decaestecker,
Neural Comput. 14, 21 (2002); Elkan, IJCAI 2001).
"""

from dataclasses import dataclass

import torch
from transformers.utils import ModelOutput

from .configuration_disorder import DisorderConfig
from .modeling_composition import CompositionModel, whole


@dataclass
class DisorderOutput(ModelOutput):
    """What a `DisorderModel` returns.

    Attributes:
        loss: scalar, where labels were given.
        probability: (B,) of disorder.
        types: (B, 3) probabilities of S, V and M, should it be disordered.
        log_odds: (B,) of disorder, before calibration.
    """

    loss: torch.Tensor | None = None
    probability: torch.Tensor | None = None
    types: torch.Tensor | None = None
    log_odds: torch.Tensor | None = None


def shifted(log_odds: torch.Tensor, trained: torch.Tensor, prior: float | None) -> torch.Tensor:
    """Log-odds (B,) under another prior than the one trained with (B,); None keeps them."""
    if prior is None:
        return log_odds
    return log_odds + torch.logit(torch.as_tensor(prior, dtype=log_odds.dtype)) - torch.logit(trained)


class DisorderModel(CompositionModel):
    """A composition model whose one task is disorder."""

    config_class = DisorderConfig

    def forward(
        self,
        input_ids: torch.LongTensor,
        amounts: torch.FloatTensor,
        labels: dict[str, torch.Tensor] | None = None,
        prior: float | None = None,
        members: int | None = None,
        **kwargs,
    ) -> DisorderOutput:
        """Predict disorder.

        Args:
            input_ids: (B, T) atomic numbers, 0 where padded (on the right).
            amounts: (B, T) amounts of the formula, 0 where padded.
            labels: `disorder` (B, 4), 1 for every type that may be right.
            prior: share of disordered compositions among the formulas of whole amounts one has in mind, in (0, 1);
                default the training data's. Fractional formulas keep theirs: they are nearly all disordered.
            members: how many networks are asked, the first ones; default all, which is what is calibrated.
        """
        out = super().forward(input_ids, amounts, labels, members=members)
        logp = (out.predictions or {})["disorder"]  # (B, 4)
        log_odds = logp[:, 1:].logsumexp(-1) - logp[:, 0]  # (B,)
        fractional = ~(whole(amounts) | (input_ids == 0)).all(-1)  # (B,)
        slope, offset = log_odds.new_tensor(self.config.calibration)[fractional.long()].T  # 2 x (B,)
        calibrated = slope * log_odds + offset  # (B,)
        trained = log_odds.new_tensor(self.config.priors)[0].expand_as(log_odds)  # (B,)
        calibrated = torch.where(fractional, calibrated, shifted(calibrated, trained, prior))
        return DisorderOutput(out.loss, calibrated.sigmoid(), logp[:, 1:].softmax(-1), log_odds)


__all__ = ["DisorderModel", "DisorderOutput"]
