"""What a recipe is, whether it applies, and the phases that it makes.

A recipe is data: stages of weighted terms. ``recipes.py`` has those that are known; one's
own, of any terms, go to ``full.FullDistillation``.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from autodistill.distill import layer_map as maps
from autodistill.distill.layer_map import LayerMap
from autodistill.distill.terms import Need, Term
from autodistill.errors import RecipeError
from autodistill.models.checkpoint import HEAD_PREFIX
from autodistill.models.config import BertConfig, EncoderConfig, MobileBertConfig
from autodistill.teacher import Teacher, TeacherKind

OF_STATES = frozenset({Need.HEAD, Need.EMBEDDING, Need.PROJECTIONS, Need.BLOCKS})
ADAPT = "python -m autodistill.teacher adapt"


class Start(StrEnum):
    """Where the student's weights begin."""

    RANDOM = "random"
    WORDS = "words"  # the teacher's word meanings in closed form, blocks at the identity
    TEACHER_LAYERS = "teacher-layers"  # at even distances: copies, or pruned ones
    STUDENT = "student"  # what an already distilled one has learnt
    BEST = "best"  # the teacher's layers where the student's shape allows, else words


@dataclass(frozen=True)
class Stage:
    """Some of the steps, under one loss.

    Attributes:
        name: For people and records.
        terms: Each with its factor.
        share: Of all steps, relative to the shares of the other stages.
        learning_rate: Peak.
        layers: Makes the layer map from the two depths.
        one_by_one: One mapped layer after the other, those below it frozen.
        top_only: Train the last layer and what follows it, nothing below.
        only: Whether the stage is for one kind of teacher; others skip it.
    """

    name: str
    terms: tuple[tuple[float, Term], ...]
    share: float = 1.0
    learning_rate: float = 1e-3
    layers: Callable[[int, int], LayerMap] = maps.uniform
    one_by_one: bool = False
    top_only: bool = False
    only: TeacherKind | None = None

    @property
    def needs(self) -> frozenset[Need]:
        """Of all its terms."""
        return frozenset().union(*(term.needs for _, term in self.terms))


@dataclass(frozen=True)
class Recipe:
    """A known way to distil.

    Attributes:
        name: As on the command line.
        summary: One line.
        source: Where it comes from.
        start: Where the weights begin.
        stages: In order.
    """

    name: str
    summary: str
    source: str
    start: Start
    stages: tuple[Stage, ...]

    @property
    def digest(self) -> str:
        """Of all its stages: two recipes of one name that train otherwise differ in it."""
        told = [
            {**vars(stage), "layers": getattr(stage.layers, "__qualname__", "given")}
            for stage in self.stages
        ]
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Planned:
    """A stage, or one layer of it, for one teacher and student.

    Attributes:
        name: The stage's, with the layer where it goes one by one.
        stage: What it is of.
        layers: Its layer map.
        steps: At least one.
        begin: Layers of the student up to this one are frozen.
        depth: Layers of the student that are run.
        teacher_depth: Layers of the teacher that are run.
        unread: How names of parameters begin that no term reads, though their layer is run.
    """

    name: str
    stage: Stage
    layers: LayerMap
    steps: int
    begin: int
    depth: int
    teacher_depth: int
    unread: tuple[str, ...] = ()

    def trains(self, name: str) -> bool:
        """Whether the parameter of this name is trained.

        What no term reads is not: the optimiser would let it decay.
        """
        needs, owner = self.stage.needs, name.split(".")[0]
        if name.startswith(self.unread):
            return False
        match owner:
            case "embeddings":
                return self.begin == 0
            case "encoder":  # encoder.layer.3.attention...
                last = len(self.layers) if Need.BLOCKS in needs else self.depth
                return self.begin <= int(name.split(".")[2]) < last
            case "output" | "token_output":
                return Need.EMBEDDING in needs
            case "projection":
                return int(name.split(".")[1]) in self.projections()
            case "inlet":
                return int(name.split(".")[1]) in self.inlets()
            case _:
                return name.startswith(HEAD_PREFIX) and Need.HEAD in needs

    def projections(self) -> set[int]:
        """States of the student that are compared with states of the teacher."""
        needs = self.stage.needs
        mapped = {i for i, _ in maps.pairs(self.layers)}
        words = {0} if Need.WORD_PROJECTION in needs else set()
        return words | (mapped if Need.PROJECTIONS in needs else set())

    def inlets(self) -> set[int]:
        """Layers after which a block begins that reads the teacher's states."""
        if Need.BLOCKS not in self.stage.needs:
            return set()
        return {begin for begin, *_ in maps.blocks(self.layers) if begin}


def settled(recipe: Recipe, teacher: Teacher, student: EncoderConfig) -> Recipe:
    """The recipe with the start that it has for these two, where it leaves a choice."""
    if recipe.start is not Start.BEST:
        return recipe
    _, wrong = _unlike(teacher, student)
    return replace(recipe, start=Start.WORDS if wrong else Start.TEACHER_LAYERS)


def plan(recipe: Recipe, teacher: Teacher, student: EncoderConfig, *, steps: int) -> list[Planned]:
    """The phases of a run, with their steps.

    Raises:
        RecipeError: The recipe does not apply to these two, or has more phases than
            there are steps.
    """
    stages = [stage for stage in recipe.stages if stage.only in (None, teacher.kind)]
    for stage in stages:
        _check(recipe, stage, teacher, student)
    _check_start(recipe, teacher, student)
    drafts: list[tuple[float, Planned]] = []
    for stage in stages:
        whole = stage.layers(student.num_hidden_layers, teacher.config.num_hidden_layers)
        parts = maps.progressive(whole) if stage.one_by_one else (whole,)
        begin = student.num_hidden_layers - 1 if stage.top_only else 0
        for layers in parts:
            one = _draft(stage, layers, begin, teacher, student)
            drafts.append((stage.share / len(parts), one))
            begin = one.depth if stage.one_by_one else begin
    if steps < len(drafts):
        raise RecipeError(
            f"the recipe {recipe.name} has {len(drafts)} phases for these two and needs a step for "
            f"each; got --steps {steps}"
        )
    shares = [share for share, _ in drafts]
    return [
        replace(one, steps=count)
        for count, (_, one) in zip(_split(steps, shares), drafts, strict=True)
    ]


def _draft(
    stage: Stage, layers: LayerMap, begin: int, teacher: Teacher, student: EncoderConfig
) -> Planned:
    whole = bool(stage.needs & {Need.HEAD, Need.EMBEDDING})
    last, teacher_last = max(maps.pairs(layers))
    depth = student.num_hidden_layers if whole else last
    return Planned(
        name=f"{stage.name} {last}" if stage.one_by_one else stage.name,
        stage=stage,
        layers=layers,
        steps=1,
        begin=begin,
        depth=0 if Need.BLOCKS in stage.needs and not whole else depth,
        teacher_depth=teacher.config.num_hidden_layers if whole else teacher_last,
        unread=() if stage.needs & OF_STATES else _behind_attention(student, depth),
    )


def _behind_attention(student: EncoderConfig, depth: int) -> tuple[str, ...]:
    """What the last layer computes that its queries, keys and values do not depend on."""
    parts = ["attention.output", "intermediate", "ffn", "output"]
    if isinstance(student, MobileBertConfig) and not student.use_bottleneck_attention:
        parts.append("bottleneck.input")
    return tuple(f"encoder.layer.{depth - 1}.{part}." for part in parts)


def _split(steps: int, shares: list[float]) -> list[int]:
    """Whole steps by shares, each at least one, all of them in sum."""
    spare, total, given, taken = steps - len(shares), sum(shares), 0.0, 0
    counts = []
    for share in shares:
        given += spare * share / total
        counts.append(1 + round(given) - taken)
        taken = round(given)
    return counts


def _check(recipe: Recipe, stage: Stage, teacher: Teacher, student: EncoderConfig) -> None:
    if Need.HEAD in stage.needs and teacher.head is None:
        raise RecipeError(
            f"the recipe {recipe.name} needs a teacher with a masked-LM head, and {teacher.name} "
            f"has none; train one with {ADAPT}, or use --recipe embedding, minilm or tinybert"
        )
    if Need.EMBEDDING in stage.needs and teacher.kind is not TeacherKind.EMBEDDING:
        raise RecipeError(
            f"the recipe {recipe.name} needs an embedding teacher, and {teacher.name} has a "
            "masked-LM head; use --recipe mobilebert, distilbert, minilm or tinybert"
        )
    heads = student.num_attention_heads, teacher.config.num_attention_heads
    if Need.EQUAL_HEADS in stage.needs and heads[0] != heads[1]:
        raise RecipeError(
            f"the recipe {recipe.name} transfers attention head by head, and the student has "
            f"{heads[0]} heads where the teacher has {heads[1]}; take a student with "
            f"num_attention_heads {heads[1]}, or use --recipe minilm or autodistill"
        )


def check_batch(recipe: Recipe, stages: Iterable[Stage], *, batch_size: int, cuts: int) -> None:
    """Check that terms which compare the passages of a batch have them all at once.

    Args:
        recipe: For the message.
        stages: Of it.
        batch_size: Passages per step.
        cuts: Micro-batches that a batch is cut into; 1 for none.

    Raises:
        RecipeError: They have not, or there are fewer than three.
    """
    for term in (term for stage in stages for _, term in stage.terms):
        if Need.WHOLE_BATCH not in term.needs:
            continue
        compares = f"the term {term.name} of the recipe {recipe.name} compares the passages of a"
        if cuts > 1:
            raise RecipeError(
                f"{compares} whole batch, which was to be cut into {cuts} micro-batches, by "
                "--accumulate or as memory did not suffice; use --accumulate 1 and a smaller "
                "--batch-size, or leave the term out"
            )
        if batch_size < 3:
            raise RecipeError(
                f"{compares} batch with each other: --batch-size must be at least 3; got "
                f"{batch_size}"
            )


def differences(teacher: EncoderConfig, student: EncoderConfig) -> list[str]:
    """The fields in which two encoders of one family differ, but for their depth."""
    own, theirs = vars(student), vars(teacher)
    ignored = ("num_hidden_layers", "pad_token_id")
    return [name for name in theirs if name not in ignored and own.get(name) != theirs[name]]


def _check_start(recipe: Recipe, teacher: Teacher, student: EncoderConfig) -> None:
    if recipe.start is not Start.TEACHER_LAYERS:
        return
    asked, wrong = _unlike(teacher, student)
    if wrong:
        raise RecipeError(
            f"the recipe {recipe.name} begins with the teacher's layers, so the student must be "
            f"{asked}; this one differs in {', '.join(wrong)}. Take such a student, or another "
            "--start or --recipe"
        )


def _unlike(teacher: Teacher, student: EncoderConfig) -> tuple[str, list[str]]:
    """What a student must be to begin with its teacher's layers, and in what it is not.

    A BERT may begin with the layers of a larger one; any other differs in depth alone.
    """
    if student.model_type != teacher.config.model_type:
        return "of its family", [f"model_type ({student.model_type})"]
    ours, theirs = vars(student), vars(teacher.config)
    other, larger = differences(teacher.config, student), ["num_hidden_layers"]
    asked = "as it is in all but the depth, and no deeper"
    if isinstance(student, BertConfig):
        other = [name for name in other if name in ("vocab_size", "hidden_act")]
        larger += ["hidden_size", "max_position_embeddings", "type_vocab_size"]
        asked = "no deeper, no wider and of its vocabulary and activation"
    other += [name for name in larger if ours[name] > theirs[name]]
    return asked, [f"{name} ({ours[name]} of {theirs[name]})" for name in dict.fromkeys(other)]
