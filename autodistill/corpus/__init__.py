"""Text to batches: documents, tokens on disk, passages, shuffled and masked batches."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
