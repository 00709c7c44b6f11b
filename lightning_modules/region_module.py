"""The step that the image and the video module share: losses, answers, optimiser, checkpoints."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler

from datamodules.batching.batch import RegionBatch, StepBatch
from datamodules.batching.processor import RegionProcessor
from datamodules.errors import DataError
from datamodules.media.clips import Backend
from datamodules.prompting.conversation import ConversationRenderer
from datamodules.prompting.prompt_styles import PromptName, prompt_style
from lightning_modules.backbone import BackboneOutput, TokenMarkBackbone
from lightning_modules.bases.loading import (
    BaseModel,
    architecture_json,
    load_base,
    load_tokenizer,
    load_visual_processor,
    tokenizer_files,
    vision_settings,
)
from lightning_modules.checkpoints.description import DESCRIPTION, check_region_encoder, lora_options, plain_weights
from lightning_modules.checkpoints.reading import fill, read
from lightning_modules.checkpoints.weights import compare
from lightning_modules.generation.answering import Answered, answer
from lightning_modules.region_encoders import REGION_ENCODERS, RegionEncoderName, RegionEncoderOptions
from lightning_modules.region_encoders.region_encoder import RegionEncoder, smallest_region
from lightning_modules.region_encoders.roi_feature import RoiTokens
from lightning_modules.region_encoders.visual_marker import Marker
from lightning_modules.training.combinations import check_numbers, check_options, check_strategy
from lightning_modules.training.evaluation_losses import EvaluationLosses
from lightning_modules.training.lora import LoraOptions, add_lora
from lightning_modules.training.losses import pass_losses, step_counts
from lightning_modules.training.optimizers import OptimizerName, make_optimizer, warmup_cosine
from lightning_modules.training.precision import check_precision, learn_in_float32, learning_weights
from lightning_modules.training.quantisation import Quantisation, quantise
from lightning_modules.training.sharding import FullySharded
from metrics import Evaluation, Prediction, Score

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from datamodules.batching.visual_processor import VisualProcessor
    from lightning_modules.bases.base import Base

Part: TypeAlias = Literal["vision_tower", "projector", "language_model"]


class RegionModule(LightningModule):
    """Region-level understanding over the shared TokenMarkBackbone.

    The weights are made or loaded in `configure_model`, when the data are prepared and the strategy is up.

    Args:
        base: The vision-language model that regions are added to.
        region_encoder: How regions are told to it: by `token_mark`, `roi_feature`, `text_coordinates`,
            `visual_marker`, or `none` as a control.
        num_marks: M, the most regions of a sample.
        mark_scale: Size of a mark before the language model, root mean square, when training begins; that of the base's
            words if left out.
        mark_dim: C, width of a mark.
        roi_tokens: Of `roi_feature`: the `average` over the prompted frames, or one for every known `frame`.
        marker: Of `visual_marker`: an `outline` around the region, or a `tint` over it.
        guide_weight: alpha in L = L_LM + alpha * L_guide; 0 leaves the guide head out.
        frozen: Parts that do not learn. Stage 1 freezes vision tower and language model, stage 2 the vision tower.
        prompt: The words around question and answer: the base's own `chat` template, `vicuna` for LLaVA-1.5, or
            `plain`.
        max_length: Most tokens of a conversation, visual ones included; a longer one is an error.
        init_from: Checkpoint of an earlier stage whose weights to start from.
        quantise: Keep the language model's linear layers in 4 (`nf4`) or 8 bits (`int8`); they no longer learn.
        lora: Adapters that learn in the language model's place.
        optimizer: `adamw`, or `adamw8bit` with its state in 8 bits.
        learning_rate: Peak, after the warm-up.
        betas: AdamW's.
        weight_decay: AdamW's.
        warmup: Share of the steps in which the learning rate rises; a cosine takes it to zero after that.
        max_new_tokens: Most tokens of a generated answer.
        evaluation: Metrics by task; all of them if left out.

    Raises:
        DataError: A number is out of range.
    """

    default_num_frames = 1

    def __init__(
        self,
        base: BaseModel,
        region_encoder: RegionEncoderName = "token_mark",
        num_marks: int = 100,
        mark_dim: int = 256,
        mark_scale: float | None = None,
        roi_tokens: RoiTokens = "average",
        marker: Marker = "outline",
        guide_weight: float = 0.05,
        frozen: Sequence[Part] = ("vision_tower",),
        prompt: PromptName = "chat",
        max_length: int | None = None,
        init_from: Path | None = None,
        quantise: Quantisation | None = None,
        lora: LoraOptions | None = None,
        optimizer: OptimizerName = "adamw",
        learning_rate: float = 5e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        warmup: float = 0.03,
        max_new_tokens: int = 64,
        evaluation: Evaluation | None = None,
    ) -> None:
        super().__init__()
        self.base = base
        # plain values: a checkpoint carries them, so that a model can be built again from it alone
        self.options: dict[str, Any] = {
            "region_encoder": region_encoder,
            "num_marks": num_marks,
            "mark_dim": mark_dim,
            "roi_tokens": roi_tokens,
            "marker": marker,
            "guide_weight": guide_weight,
            "prompt": prompt,
            "max_length": max_length,
            "max_new_tokens": max_new_tokens,
            "quantise": quantise,
            "lora": None if lora is None else lora.plain(),
        }
        self.region_encoder: RegionEncoderName = region_encoder
        self.num_marks = num_marks
        self.mark_dim = mark_dim
        self.mark_scale = mark_scale
        self.roi_tokens: RoiTokens = roi_tokens
        self.marker: Marker = marker
        self.guide_weight = guide_weight
        self.frozen = tuple(frozen)
        self.prompt: PromptName = prompt
        self.max_length = max_length
        self.init_from = init_from
        self.quantise: Quantisation | None = quantise
        self.lora = lora
        self.optimizer: OptimizerName = optimizer
        self.learning_rate = learning_rate
        self.betas = betas
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.max_new_tokens = max_new_tokens
        check_numbers(max_length, max_new_tokens, guide_weight, learning_rate, betas, weight_decay, warmup)
        self.evaluation = evaluation or Evaluation()
        self.evaluation_losses = EvaluationLosses()
        self.scores: dict[str, Score] = {}
        self.predictions: list[Prediction] = []

    # --- what the model is ------------------------------------------------------------------------------------------

    def configure_model(self) -> None:
        """Makes or loads the weights, once."""
        if hasattr(self, "backbone"):
            return
        check_options(self.quantise, self.lora, self.frozen)
        if self._trainer is not None:
            check_strategy(self.trainer.strategy, self.quantise, self.optimizer)
            check_precision(self.trainer.precision)
        tokenizer = load_tokenizer(self.base)
        base = load_base(self.base, tokenizer)
        learns = self._trainer is None or self.trainer.state.fn == "fit"
        self.assemble(base, tokenizer, load_visual_processor(self.base, base.model.config), learns)
        self.backbone.region_encoder.scale(base.word_size() if self.mark_scale is None else self.mark_scale)
        if self.init_from is not None and not self._restored:
            self._start_from(self.init_from)
        else:
            self.adapt()
        if self._trainer is not None and isinstance(self.trainer.strategy, FullySharded):
            self.trainer.strategy.shard(self.backbone)

    @property
    def _restored(self) -> bool:
        """Whether the weights come from a checkpoint of this very stage anyway."""
        return self._trainer is not None and (self.trainer.state.fn != "fit" or self.trainer.ckpt_path is not None)

    def assemble(self, base: Base, tokenizer: PreTrainedTokenizerBase, vision: VisualProcessor, learns: bool) -> None:
        """Puts regions on a base model and its tokenizer.

        What is put there is float32. The base keeps the type it comes in, but for what learns of it: `precision`.

        Args:
            base: The base.
            tokenizer: Its tokenizer.
            vision: What turns frames into its inputs.
            learns: Whether the model is to be trained; one that only answers is frozen.
        """
        self.vision = vision
        style = prompt_style(self.prompt, tokenizer, vision.placeholder)
        self.renderer = ConversationRenderer(tokenizer, style, self.max_length)
        base.model.generation_config.eos_token_id = self.renderer.end_ids
        self.backbone = TokenMarkBackbone(base, self._region_encoder(base.width), guide=self.guide_weight > 0)
        if learns:
            self._freeze()
            learn_in_float32(self.backbone)
            # of the type of what is trained beside them: a tower runs to its end
            for unused in base.unused_parameters():
                unused.requires_grad_(False)
        else:
            self.backbone.requires_grad_(False)

    def adapt(self) -> None:
        """Quantises the language model and gives it adapters, as configured."""
        base = self.backbone.base
        if self.quantise and base.model.device.type != "meta":  # a plan counts weights that are not there
            quantise(base.language_model, self.quantise)
        if self.lora:
            add_lora(base.language_model, self.lora)

    def _region_encoder(self, width: int) -> RegionEncoder:
        options = RegionEncoderOptions(width, self.num_marks, self.mark_dim, self.roi_tokens, self.marker)
        return REGION_ENCODERS[self.region_encoder](options)

    def _freeze(self) -> None:
        base = self.backbone.base
        parts = {
            "vision_tower": [base.vision_tower],
            "projector": base.projector,
            "language_model": [base.language_model, base.output_head],
        }
        # adapters learn in the language model's place
        frozen = {*self.frozen, *(("language_model",) if self.lora else ())}
        for name in sorted(frozen):
            for part in parts[name]:
                part.requires_grad_(False)
        if "projector" not in frozen:  # it may be a part of the tower
            for part in base.projector:
                part.requires_grad_(True)

    def processor(self, num_frames: int, backend: Backend | None = None) -> RegionProcessor:
        """What turns samples into what this model eats. Arguments: `RegionProcessor`."""
        base, pointing = self.backbone.base, self.backbone.region_encoder.pointing
        return RegionProcessor(self.renderer, self.vision, num_frames, backend, pointing, base.causal)

    # --- training ---------------------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        """Refuses what would change the loss in silence.

        Raises:
            DataError: Gradients of several batches are accumulated: each would be averaged over its own tokens.
        """
        if self.trainer.accumulate_grad_batches > 1:
            raise DataError(
                f"accumulate_grad_batches is {self.trainer.accumulate_grad_batches}, but L_LM is a mean over all "
                "tokens of a step, which its batches do not know: set data.batch_size to the samples of a step and "
                "split it by data.micro_batch_size or data.token_budget"
            )

    def training_step(self, batch: RegionBatch | StepBatch, batch_idx: int) -> torch.Tensor:
        """L = L_LM + alpha * L_guide of one optimiser step, in one pass or several: the gradient is the same."""
        passes = [batch] if isinstance(batch, RegionBatch) else batch
        counts = step_counts(passes)
        self.optimizers().zero_grad()  # type: ignore[union-attr]  # one optimiser
        earlier = torch.zeros(3, device=self.device)
        for part in passes[:-1]:
            shares = self._shares(part, counts)
            self._backward(shares[0])
            earlier += shares.detach()
        shares = self._shares(passes[-1], counts) + earlier
        self._log_step(shares.detach(), passes)
        return shares[0]

    def optimizer_zero_grad(self, *_: Any) -> None:
        """Keeps the gradients: Lightning calls this before the last pass of a step, `training_step` clears them."""

    def _backward(self, loss: torch.Tensor) -> None:
        """Adds the gradient of a pass that is not the step's last; Lightning runs the last one's."""
        # A training step runs inside DDP's forward, after which DDP begins to watch gradients: what adds up here goes
        # over the wire once, with the last pass. Lightning's own backward runs outside of autocast, too.
        with torch.autocast(self.device.type, enabled=False):
            self.trainer.strategy.backward(loss, None)

    def _log_step(self, losses: torch.Tensor, passes: StepBatch) -> None:
        """Args: losses: (3,), L, L_LM and L_guide of the step; passes: its micro-batches."""
        size = sum(map(len, passes))
        self.log("train/loss", losses[0], prog_bar=True, batch_size=size, sync_dist=True)
        self.log("train/language_loss", losses[1], batch_size=size, sync_dist=True)
        if self.backbone.guide is not None:
            self.log("train/guide_loss", losses[2], prog_bar=True, batch_size=size, sync_dist=True)
        smallest = torch.stack([smallest_region(part) for part in passes]).min()
        self.log("train/smallest_region", smallest, batch_size=size, reduce_fx="min", sync_dist=True)
        self.log("train/learning_rate", self.optimizers().param_groups[0]["lr"], batch_size=size)  # type: ignore[union-attr]  # one optimiser

    def _shares(self, batch: RegionBatch, counts: torch.Tensor) -> torch.Tensor:
        """What one pass adds to L, L_LM and L_guide of its step: (3,), the first with a gradient."""
        language, guide = pass_losses(self.backbone(batch), batch, counts)
        return torch.stack([language + self.guide_weight * guide, language.detach(), guide.detach()])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with linear warm-up and cosine decay over all steps of the run."""
        learning = learning_weights(self)
        optimizer = make_optimizer(self.optimizer, learning, self.learning_rate, self.betas, self.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        rate = partial(warmup_cosine, warmup=round(self.warmup * steps), steps=steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # --- evaluation -------------------------------------------------------------------------------------------------

    def validation_step(self, batch: RegionBatch, batch_idx: int) -> Answered:  # type: ignore[override]  # for callbacks
        """Losses on the right answers, and answers of the model's own."""
        return self._evaluation_step(batch)

    def test_step(self, batch: RegionBatch, batch_idx: int) -> Answered:  # type: ignore[override]  # for callbacks
        """As in validation."""
        return self._evaluation_step(batch)

    def predict_step(self, batch: RegionBatch, batch_idx: int) -> Answered:
        """Answers, without a right one to compare with."""
        return self.answer(batch)

    def _evaluation_step(self, batch: RegionBatch) -> Answered:
        output = self.backbone(batch)
        self.evaluation_losses.update(output, batch)
        answered = self._answer(batch, output)
        self.evaluation.update(answered.predictions)
        return answered

    def on_validation_epoch_end(self) -> None:
        """Scores the whole validation set once."""
        self._score("val")

    def on_test_epoch_end(self) -> None:
        """Scores the whole test set once."""
        self._score("test")

    def _score(self, stage: str) -> None:
        if self.trainer.sanity_checking:
            # a few batches are no benchmark: its parts would not fit together
            self.evaluation.reset()
            self.evaluation_losses.reset()
            return
        self.scores = self.evaluation.compute()
        self.predictions = self.evaluation.predictions()
        losses = self.evaluation_losses.compute()
        self.evaluation.reset()
        self.evaluation_losses.reset()
        # gathered from all ranks already: every rank holds, and monitors, the same numbers
        values = losses | {name: score.value for name, score in self.scores.items()}
        self.log_dict({f"{stage}/{name}": value for name, value in values.items()})

    @torch.no_grad()
    def answer(self, batch: RegionBatch) -> Answered:
        """The model's answers to the last turns of a batch."""
        return self._answer(batch, self.backbone(batch))

    def _answer(self, batch: RegionBatch, output: BackboneOutput) -> Answered:
        """Generated text for every sample; where it has options, their likelihoods too."""
        return answer(self.backbone, self.renderer, batch, output, self.max_new_tokens)

    # --- checkpoints ------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint carries all that answering needs: options, architecture and tokenizer, as plain data."""
        checkpoint[DESCRIPTION] = self.describe()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another model by the names and shapes of its weights.

        Of a sharded checkpoint only the strategy sees the weights, and compares them.
        """
        check_region_encoder(self.region_encoder, checkpoint[DESCRIPTION], "the checkpoint")
        if "state_dict" in checkpoint:
            compare(self.state_dict(), checkpoint["state_dict"], "the checkpoint")

    def describe(self) -> dict[str, Any]:
        """What `checkpoints.loading` needs to build this model again, as plain data."""
        with tempfile.TemporaryDirectory() as folder:
            tokenizer = tokenizer_files(self.renderer.tokenizer, Path(folder))
        return {
            "class": type(self).__name__,
            "options": self.options,
            "vision": vision_settings(self.vision),
            "architecture": architecture_json(self.backbone.model.config),
            "tokenizer": tokenizer,
        }

    def _start_from(self, path: Path) -> None:
        """Adapts the model and gives it the weights of an earlier stage, every single one of them.

        Where both stages have the same adapters and quantisation, these go on learning. Else those of the earlier
        stage become part of the weights before this one's are made.

        Raises:
            DataError: The checkpoint is another model's; the message lists what is missing, unexpected or misfits.
        """
        checkpoint = read(path)
        description = checkpoint[DESCRIPTION]
        check_region_encoder(self.region_encoder, description, str(path))
        if (description["options"].get("quantise"), lora_options(description)) == (self.quantise, self.lora):
            self.adapt()
            fill(self, checkpoint["state_dict"], path)
        else:
            fill(self, plain_weights(checkpoint), path)
            self.adapt()
