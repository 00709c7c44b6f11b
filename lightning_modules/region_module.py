"""The step that the image and the video module share: losses, answers, optimiser, checkpoints."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler

from datamodules.batching.batch import RegionBatch, StepBatch
from datamodules.batching.processor import RegionProcessor
from datamodules.media.clips import Backend
from datamodules.prompting.conversation import ConversationRenderer
from datamodules.prompting.prompt_styles import PromptName, prompt_style
from lightning_modules.backbone import BackboneOutput, TokenMarkBackbone
from lightning_modules.bases.loading import (
    BaseModel,
    architecture_json,
    load_base,
    load_base_once,
    load_tokenizer,
    load_visual_processor,
    tokenizer_files,
    vision_settings,
)
from lightning_modules.bases.weight_files import sums
from lightning_modules.checkpoints.base_weights import ORIGIN, base_name, check_origin, of_base, origin_of
from lightning_modules.checkpoints.description import DESCRIPTION, check_region_encoder, lora_options, plain_weights
from lightning_modules.checkpoints.reading import fill, read
from lightning_modules.checkpoints.weights import compare
from lightning_modules.class_spec import ClassSpec, class_path
from lightning_modules.generation.answering import Answered, answer
from lightning_modules.generation.steps import GenerationOptions
from lightning_modules.region_encoders import RegionEncoder, TokenMark
from lightning_modules.region_encoders.region_encoder import smallest_region
from lightning_modules.training.combinations import check_numbers, check_options, check_strategy
from lightning_modules.training.evaluation_losses import EvaluationLosses
from lightning_modules.training.freezing import Part, freeze
from lightning_modules.training.layers import compile_for_training, layers_of, run_again
from lightning_modules.training.lora import LoraOptions, adapt
from lightning_modules.training.losses import pass_losses
from lightning_modules.training.muon import hidden_matrices
from lightning_modules.training.optimizers import OptimizerName, make_optimizer, warmup_cosine
from lightning_modules.training.passes import StepInPasses
from lightning_modules.training.precision import check_precision, learn_in_float32, learning_weights
from lightning_modules.training.quantisation import Quantisation
from lightning_modules.training.ranks import means_and_least_over_ranks, of_rank_zero, sum_over_ranks
from lightning_modules.training.sharding import FullySharded
from metrics import Evaluation, Prediction, Score

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from datamodules.batching.visual_processor import VisualProcessor
    from lightning_modules.bases.base import Base


class RegionModule(StepInPasses):
    """Region-level understanding over the shared TokenMarkBackbone.

    The weights are made or loaded in `configure_model`, when the data are prepared and the strategy is up.

    Args:
        base: The vision-language model that regions are added to.
        region_encoder: How regions are told to it.
        guide_weight: alpha in L = L_LM + alpha * L_guide; 0 leaves the guide head out, which an encoder without marks
            does not have anyway.
        frozen: Parts that do not learn. Stage 1 freezes vision tower and language model, stage 2 the vision tower.
        prompt: The words around question and answer: the base's own `chat` template, `vicuna` for LLaVA-1.5, or
            `plain`.
        max_length: Most tokens of a conversation, visual ones included; a longer one is an error.
        init_from: Checkpoint of an earlier stage whose weights to start from.
        quantise: Keep the language model's linear layers in 4 (`nf4`) or 8 bits (`int8`); they no longer learn.
        lora: Adapters that learn in the language model's place.
        checkpoint_activations: Keep a layer's input alone and run the layer again in the backward pass: less memory for
            one more forward pass.
        compile_layers: Compile the layers of tower and language model (`torch.compile`) for training.
        optimizer: `adamw`, `adamw8bit` with its state in 8 bits, or `muon`: the base's linear layers move by their
            orthogonalised momentum, all else by AdamW.
        learning_rate: Peak, after the warm-up.
        betas: AdamW's.
        weight_decay: AdamW's.
        warmup: Share of the steps in which the learning rate rises; a cosine takes it to zero after that.
        max_new_tokens: Most tokens of a generated answer.
        generation: How answers are generated: what keeps keys and values, and whether steps are compiled.
        evaluation: Metrics by task; the usual ones if left out.

    Raises:
        DataError: A number is out of range.
    """

    default_num_frames = 1
    not_described: ClassVar[frozenset[str]] = frozenset(
        {"base", "frozen", "init_from", "checkpoint_activations", "compile_layers", "generation", "evaluation"}
        | {"optimizer", "learning_rate", "betas", "weight_decay", "warmup"}
    )
    """Arguments that a checkpoint does not carry: how a model is trained and scored does not say what it is. A class of
    one's own may add to them."""

    def __init__(
        self,
        base: BaseModel,
        region_encoder: RegionEncoder = TokenMark(),  # noqa: B008  # what it was made with is read, and it is not kept
        guide_weight: float = 0.05,
        frozen: Sequence[Part] = ("vision_tower",),
        prompt: PromptName = "chat",
        max_length: int | None = None,
        init_from: Path | None = None,
        quantise: Quantisation | None = None,
        lora: LoraOptions | None = None,
        checkpoint_activations: bool = False,
        compile_layers: bool = False,
        optimizer: OptimizerName = "adamw",
        learning_rate: float = 5e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        warmup: float = 0.03,
        max_new_tokens: int = 64,
        generation: GenerationOptions = GenerationOptions(),  # noqa: B008  # it is frozen
        evaluation: Evaluation | None = None,
    ) -> None:
        super().__init__()
        self.base = base
        self.region_encoder = ClassSpec.of(region_encoder)
        self.guide_weight = guide_weight
        self.frozen = tuple(frozen)
        self.prompt: PromptName = prompt
        self.max_length = max_length
        self.init_from = init_from
        self.quantise: Quantisation | None = quantise
        self.lora = lora
        self.checkpoint_activations = checkpoint_activations
        self.compile_layers = compile_layers
        self.optimizer: OptimizerName = optimizer
        self.learning_rate = learning_rate
        self.betas = betas
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.max_new_tokens = max_new_tokens
        self.generation = generation
        check_numbers(max_length, max_new_tokens, guide_weight, learning_rate, betas, weight_decay, warmup)
        self.evaluation = evaluation or Evaluation()
        self.evaluation_losses = EvaluationLosses()
        self._given: frozenset[str] = frozenset()
        self._unlogged: tuple[torch.Tensor, torch.Tensor] | None = None
        self.scores: dict[str, Score] = {}
        self.predictions: list[Prediction] = []

    @property
    def options(self) -> Mapping[str, Any]:
        """What a checkpoint says that the model was made with, arguments of a class of one's own among it."""
        return ClassSpec.of(self, self.not_described).options

    # --- what the model is ------------------------------------------------------------------------------------------

    def configure_model(self) -> None:
        """Makes or loads the weights, once."""
        if hasattr(self, "backbone"):
            return
        check_options(self.quantise, self.lora, self.frozen)
        self.generation.check(quantised=self.quantise is not None)
        _ = self.options  # what no checkpoint could carry is refused now, not when the first is written
        if self._trainer is not None:
            check_strategy(self.trainer.strategy, self.quantise, self.optimizer)
            check_precision(self.trainer.precision)
        tokenizer = load_tokenizer(self.base)
        strategy = None if self._trainer is None else self.trainer.strategy
        once = isinstance(strategy, FullySharded)
        base = load_base_once(self.base, tokenizer) if once else load_base(self.base, tokenizer)
        self._given = base.given
        self.generation.check(base)
        learns = self._trainer is None or self.trainer.state.fn == "fit"
        with base.model.device if base.model.device.type == "meta" else nullcontext():
            self._put_together(base, tokenizer, learns, once)
        if learns:
            self.backbone.train()  # what is read from a checkpoint comes without dropout
            self._prepare_layers()
        if isinstance(strategy, FullySharded):
            strategy.shard(self.backbone)

    def _put_together(self, base: Base, tokenizer: PreTrainedTokenizerBase, learns: bool, once: bool) -> None:
        """The model with the weights that it starts from; if they are read `once`, rank 0 alone has them afterwards."""
        self.assemble(base, tokenizer, load_visual_processor(self.base, base.model.config), learns)
        encoder = self.backbone.region_encoder
        size = of_rank_zero(base.word_size) if encoder.scale is None else encoder.scale
        encoder.rescale(size)
        self._grows_from = size if encoder.scale is None and self.init_from is None else None
        start = None if self.init_from is None or self._restored else partial(self._start_from, self.init_from)
        if start is not None and once:
            self._given = of_rank_zero(start)
        elif start is not None:
            start()
        if start is None or base.model.device.type == "meta":
            self.adapt()

    def _prepare_layers(self) -> None:
        """Before they are sharded: what is gathered for a layer is there while it runs, and runs again."""
        for layer in layers_of(self.backbone):
            if self.compile_layers:
                compile_for_training(layer)
            if self.checkpoint_activations:
                run_again(layer)

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
        self.backbone = TokenMarkBackbone(base, vision, self.region_encoder.make(), guide=self.guide_weight > 0)
        if learns:
            # adapters learn in the language model's place
            freeze(base, {*self.frozen, *(("language_model",) if self.lora else ())})
            learn_in_float32(self.backbone)
            # of the type of what is trained beside them: a tower runs to its end
            for unused in base.unused_parameters():
                unused.requires_grad_(False)
        else:
            self.backbone.requires_grad_(False)

    def adapt(self) -> None:
        """Quantises the language model and gives it adapters, as configured."""
        base = self.backbone.base
        weightless = base.model.device.type == "meta"  # a plan counts weights that are not there
        adapt(base.language_model, None if weightless else self.quantise, self.lora)

    def processor(self, num_frames: int, backend: Backend | None = None) -> RegionProcessor:
        """What turns samples into what this model eats. Arguments: `RegionProcessor`."""
        base, encoder = self.backbone.base, self.backbone.region_encoder
        return RegionProcessor(
            *(self.renderer, self.vision, base.visual_ids, num_frames),
            *(backend, encoder.pointing, base.causal, encoder.num_marks),
        )

    def check_packing(self) -> None:
        """Refuses a base that would not read packed samples as if each were alone.

        Raises:
            DataError: This one would not.
        """
        self.backbone.base.check_packing()

    # --- training ---------------------------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: RegionBatch | StepBatch, batch_idx: int) -> None:
        """Before the first step of all, what is told of regions grows to the size of the visual tokens.

        What is laid on these has to be seen beside them, and in a trained base they may be a hundred times as large as
        words; how large only pictures show.
        """
        if self.trainer.global_step or self._grows_from is None:
            return
        passes = [batch] if isinstance(batch, RegionBatch) else batch
        squares, numbers = sum_over_ranks(torch.stack([self.backbone.visual_squares(part) for part in passes]).sum(0))
        if isinstance(self.trainer.strategy, FullySharded):
            self.trainer.strategy.reshard(self.backbone)
        if numbers:
            times = float((squares / numbers).sqrt()) / self._grows_from
            self.backbone.region_encoder.rescale(max(1.0, times))
            self._grows_from = None

    def _log_step(self, losses: torch.Tensor, passes: StepBatch) -> None:
        """Only where Lightning writes down what is logged: a number that is read waits for the whole step."""
        smallest = torch.stack([smallest_region(part) for part in passes]).min()
        self._unlogged = losses, smallest
        if self.trainer._logger_connector.should_update_logs:
            self._log_numbers()

    def on_train_batch_end(self, *_: Any) -> None:
        """Lightning also writes down the step after which a callback has ended the training."""
        if self.trainer.should_stop and self._unlogged is not None:
            self._log_numbers()

    def _log_numbers(self) -> None:
        assert self._unlogged is not None
        loss, language, guide, smallest = means_and_least_over_ranks(*self._unlogged)
        self._unlogged = None
        # on the CPU: what the progress bar shows Lightning reads after every step
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/language_loss", language)
        if self.backbone.guide is not None:
            self.log("train/guide_loss", guide, prog_bar=True)
        self.log("train/smallest_region", smallest)
        self.log("train/learning_rate", torch.tensor(self.optimizers().param_groups[0]["lr"]))  # type: ignore[union-attr]  # one optimiser

    def _gradients_travel(self, now: bool) -> None:
        if isinstance(self.trainer.strategy, FullySharded):
            self.trainer.strategy.gradients_travel(self.backbone, now)

    def _shares(self, batch: RegionBatch, counts: torch.Tensor) -> torch.Tensor:
        language, guide = pass_losses(self.backbone(batch), batch, counts)
        return torch.stack([language + self.guide_weight * guide, language.detach(), guide.detach()])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser with linear warm-up and cosine decay over all steps of the run."""
        learning, matrices = learning_weights(self), hidden_matrices(self.backbone.model)
        optimizer = make_optimizer(
            self.optimizer, learning, self.learning_rate, self.betas, self.weight_decay, matrices
        )
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
        self.evaluation.check_tasks(batch.samples)
        with self._answering():
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
        if not self.trainer.sanity_checking:  # a few batches are no benchmark: its parts would not fit together
            self.scores, self.predictions = self.evaluation.scores_and_predictions()
            # of all ranks already: every rank holds, and monitors, the same numbers
            values = self.evaluation_losses.compute() | {name: score.value for name, score in self.scores.items()}
            self.log_dict({f"{stage}/{name}": value for name, value in values.items()})
        self.evaluation.reset()
        self.evaluation_losses.reset()

    @torch.no_grad()
    def answer(self, batch: RegionBatch) -> Answered:
        """The model's answers to the last turns of a batch."""
        with self._answering():
            return self._answer(batch, self.backbone(batch))

    def _answering(self) -> AbstractContextManager[None]:
        strategy = None if self._trainer is None else self.trainer.strategy
        return strategy.answering(self.backbone) if isinstance(strategy, FullySharded) else nullcontext()

    def _answer(self, batch: RegionBatch, output: BackboneOutput) -> Answered:
        """Generated text for every sample; where it has options, their likelihoods too."""
        return answer(self.backbone, self.renderer, batch, output, self.max_new_tokens, self.generation)

    # --- checkpoints ------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint carries all that answering needs: options, architecture and tokenizer, as plain data.

        Where the language model does not learn, weights of the base are left out that its files have.
        """
        checkpoint[DESCRIPTION] = self.describe()
        if left_out := self._left_out():
            checkpoint[DESCRIPTION][ORIGIN] = origin_of(self.base, self._files)
            weights = checkpoint["state_dict"].items()
            checkpoint["state_dict"] = {name: weight for name, weight in weights if name not in left_out}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another model by the names and shapes of its weights.

        Of a sharded checkpoint only the strategy sees the weights, and compares them.
        """
        check_region_encoder(self.region_encoder.path, checkpoint[DESCRIPTION], "the checkpoint")
        if "state_dict" in checkpoint:
            ours, theirs = self.state_dict(), checkpoint["state_dict"]
            left_out = self.left_out_of(checkpoint[DESCRIPTION], theirs, "the checkpoint")
            theirs |= {name: ours[name] for name in left_out}
            compare(ours, theirs, "the checkpoint")

    def left_out_of(self, description: dict[str, Any], held: Collection[str], where: str) -> set[str]:
        """The weights that a checkpoint has left out, which are here as the files of the base have them.

        Base weights that it holds are no longer those of the files: later checkpoints hold them, too.

        Args:
            description: Of the checkpoint.
            held: The names of its weights.
            where: It lies, for errors.

        Raises:
            DataError: It is of another base.
        """
        left_out = set()
        if ORIGIN in description:
            check_origin(description[ORIGIN], self._files, where)
            left_out = of_base(self.state_dict(), self._given).keys() - held
        self._given = frozenset(map(base_name, left_out))
        return left_out

    def _left_out(self) -> set[str]:
        """The weights that a checkpoint need not hold; none where most would learn, and the rest is not worth it."""
        if not (self.lora or "language_model" in self.frozen):
            return set()
        learning = {name for name, weight in self.named_parameters(remove_duplicate=False) if weight.requires_grad}
        return of_base(self.state_dict(), self._given).keys() - learning

    @cached_property
    def _files(self) -> dict[str, str]:
        """The sums of the base's files, which rank 0 reads."""
        return cast(dict[str, str], of_rank_zero(partial(sums, self.base)))

    def describe(self) -> dict[str, Any]:
        """What `checkpoints.loading` needs to build this model again, as plain data."""
        return {
            "class": class_path(type(self)),
            "options": dict(self.options),
            "vision": vision_settings(self.vision),
            "architecture": architecture_json(self.backbone.model.config),
            "tokenizer": tokenizer_files(self.renderer.tokenizer),
        }

    def _start_from(self, path: Path) -> frozenset[str]:
        """Adapts the model and gives it the weights of an earlier stage, every single one of them.

        Where both stages have the same adapters and quantisation, these go on learning. Else those of the earlier
        stage become part of the weights before this one's are made.

        Raises:
            DataError: The checkpoint is another model's; the message lists what is missing, unexpected or misfits.
        """
        checkpoint = read(path)
        description = checkpoint[DESCRIPTION]
        check_region_encoder(self.region_encoder.path, description, str(path))
        if (description["options"].get("quantise"), lora_options(description)) == (self.quantise, self.lora):
            self.adapt()
            self._fill(checkpoint["state_dict"], path)
        else:
            self._fill(plain_weights(checkpoint), path)
            self.adapt()
        return self._given

    def _fill(self, weights: dict[str, torch.Tensor], path: Path) -> None:
        """Takes over weights, and remembers which of the base's are changed by it."""
        before = of_base(self.state_dict(), self._given)
        changed = {
            name
            for name, weight in before.items()
            if name in weights and not torch.equal(weight, weights[name].to(weight))
        }
        fill(self, weights, path)
        self._given -= {base_name(name) for name in changed}
