from .builtin import builtin_documents, builtin_fingerprint
from .document import Document
from .loader import (
    MaskedBatch,
    mask_passages,
    mask_tokens,
    shuffled_order,
    shuffled_rows,
    training_batches,
)
from .passages import (
    PassageSource,
    SpecialTokens,
    passage_sources,
    require_batch,
)
from .sources import expected_characters, fingerprint, read_documents
from .store import CorpusSummary, SourceCount, TokenStore, prepare

__all__ = [
    "CorpusSummary",
    "Document",
    "MaskedBatch",
    "PassageSource",
    "SourceCount",
    "SpecialTokens",
    "TokenStore",
    "builtin_documents",
    "builtin_fingerprint",
    "expected_characters",
    "fingerprint",
    "mask_passages",
    "mask_tokens",
    "passage_sources",
    "prepare",
    "read_documents",
    "require_batch",
    "shuffled_order",
    "shuffled_rows",
    "training_batches",
]
