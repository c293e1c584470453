"""Known recipes, each as its paper has it; where ours differs, it is said.

All train every weight that their terms reach, with AdamW under a schedule of each
stage's own. Text, steps and batch are the caller's.

References:
    [Zhang2022] Zhang, Zhou, Chen, Wang. AutoDistill: an End-to-End Framework to
    Explore and Distill Hardware-Efficient Language Models.
    https://arxiv.org/abs/2201.08539
    [Sun2020] Sun et al. MobileBERT. https://arxiv.org/abs/2004.02984
    [Sanh2019] Sanh et al. DistilBERT. https://arxiv.org/abs/1910.01108
    [Jiao2020] Jiao et al. TinyBERT. https://arxiv.org/abs/1909.10351
    [Wang2020] Wang et al. MiniLM. https://arxiv.org/abs/2002.10957
    [Wang2021] Wang et al. MiniLMv2. https://arxiv.org/abs/2012.15828
    [Xu2021] Xu et al. NAS-BERT. https://arxiv.org/abs/2105.14444
"""

from autodistill.distill import layer_map as maps
from autodistill.distill.layer_terms import (
    AttentionProbabilities,
    AttentionScores,
    Blocks,
    CosineStates,
    FeatureMap,
    HiddenStates,
    Relations,
    WordStates,
)
from autodistill.distill.output_terms import (
    MaskedLM,
    PassageEmbedding,
    SoftTargets,
    TokenStates,
)
from autodistill.distill.recipe import Recipe, Stage, Start
from autodistill.errors import RecipeError
from autodistill.teacher import TeacherKind

HALF_LABELS = ((0.5, MaskedLM()), (0.5, SoftTargets()))  # MobileBERT's ground-truth ratio
EMBEDDING = ((1.0, TokenStates()), (0.1, PassageEmbedding()))
FEATURE_MAPS = (
    (100.0, FeatureMap("normalised")),
    (5000.0, FeatureMap("mean")),
    (5.0, FeatureMap("variance")),
)
RELATIONS = tuple((1.0, Relations(of)) for of in ("query", "key", "value"))

# Recipes whose papers go on with a task's labels leave the student without an output.
# These give it the teacher's, so that it can be judged and served at once.
OUTPUTS = (
    Stage(
        "head",
        HALF_LABELS,
        share=0.1,
        top_only=True,
        only=TeacherKind.MASKED_LM,
    ),
    Stage(
        "output",
        EMBEDDING,
        share=0.1,
        top_only=True,
        only=TeacherKind.EMBEDDING,
    ),
)

AUTODISTILL = Recipe(
    name="autodistill",
    summary="layer after layer for a twentieth of the steps, then all layers and outputs at once",
    # Flash distillation is that first twentieth, in 2201.08539 with MobileBERT's
    # terms. Head counts are searched over, so relations stand in for attention. Ours: the
    # start, the rates, and how little feature maps weigh in the end, where they hold the
    # output back.
    source="AutoDistill, https://arxiv.org/abs/2201.08539, section 3.3",
    start=Start.BEST,
    stages=(
        Stage("progressive", (*FEATURE_MAPS, *RELATIONS), share=0.05, one_by_one=True),
        Stage(
            "joint",
            (*HALF_LABELS, (0.02, FeatureMap("normalised"))),
            share=0.95,
            only=TeacherKind.MASKED_LM,
        ),
        Stage(
            "joint",
            (*EMBEDDING, (0.02, FeatureMap("normalised"))),
            share=0.95,
            learning_rate=2e-3,
            only=TeacherKind.EMBEDDING,
        ),
    ),
)

SENTENCE = Recipe(
    name="embedding",
    summary="each token's share of the passage embedding, and the embedding itself",
    source="ours; see autodistill/distill/flash.py for what was tried",
    start=Start.BEST,
    stages=(Stage("embedding", EMBEDDING, learning_rate=2e-3),),
)

MOBILEBERT = Recipe(
    name="mobilebert",
    summary="feature maps and attention layer after layer, then soft targets and masked words",
    source="MobileBERT, https://arxiv.org/abs/2004.02984, sections 3.3 to 3.5",
    # The embedding and the classifier are the teacher's in the paper. Widths differ here, so
    # the table that both share begins as the teacher's in its main directions, rescaled. Ours:
    # the blocks begin at the identity, the classifier's bias as the words' frequencies.
    start=Start.WORDS,
    stages=(
        # 240,000 and 500,000 steps in the published run. There lower layers learn on at a
        # small rate; here they are frozen. No next-sentence loss.
        Stage(
            "progressive",
            (*FEATURE_MAPS, (1.0, AttentionProbabilities())),
            share=0.32,
            learning_rate=1.5e-3,
            one_by_one=True,
        ),
        Stage("distillation", HALF_LABELS, share=0.68, learning_rate=1.5e-3),
    ),
)

DISTILBERT = Recipe(
    name="distilbert",
    summary="soft targets 5, masked words 2, cosine of last states 1; begins as every other layer",
    # Soft targets at masked places alone, not at all tokens.
    source="DistilBERT, https://arxiv.org/abs/1910.01108, section 2",
    start=Start.TEACHER_LAYERS,
    stages=(
        Stage(
            "distillation",
            ((5.0, SoftTargets(temperature=2.0)), (2.0, MaskedLM()), (1.0, CosineStates())),
            learning_rate=5e-4,
            layers=maps.last,
        ),
    ),
)

TINYBERT = Recipe(
    name="tinybert",
    summary="squared errors of embeddings, hidden states and attention scores, layers at intervals",
    # One projection for each layer, not one for all.
    source="TinyBERT, https://arxiv.org/abs/1909.10351, section 3.1; its general distillation",
    start=Start.RANDOM,
    stages=(
        Stage(
            "general",
            ((1.0, WordStates()), (1.0, HiddenStates()), (1.0, AttentionScores())),
            share=0.9,
            learning_rate=1e-3,
        ),
        *OUTPUTS,
    ),
)

MINILM = Recipe(
    name="minilm",
    summary="relations among queries, keys and values of the last layer; any heads, any width",
    source="MiniLM, https://arxiv.org/abs/2002.10957; MiniLMv2, https://arxiv.org/abs/2012.15828",
    start=Start.RANDOM,
    stages=(Stage("relations", RELATIONS, share=0.9, layers=maps.last), *OUTPUTS),
)

NAS_BERT = Recipe(
    name="nas-bert",
    summary="each block of layers learns what a block of the teacher does to the teacher's states",
    source="NAS-BERT, https://arxiv.org/abs/2105.14444, section 3.2",
    start=Start.RANDOM,
    stages=(
        Stage("blocks", ((1.0, Blocks()),), share=0.5),
        Stage("whole", HALF_LABELS, share=0.5, only=TeacherKind.MASKED_LM),
        Stage("whole", EMBEDDING, share=0.5, only=TeacherKind.EMBEDDING),
    ),
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (AUTODISTILL, SENTENCE, MOBILEBERT, DISTILBERT, TINYBERT, MINILM, NAS_BERT)
}


def get_recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        RecipeError: There is none.
    """
    if name not in RECIPES:
        known = "\n".join(f"  {one.name:<12} {one.summary}" for one in RECIPES.values())
        raise RecipeError(f"--recipe must be one of these; got {name!r}\n{known}")
    return RECIPES[name]
