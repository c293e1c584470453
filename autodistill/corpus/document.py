"""The unit of a corpus: one named text, read whole and never cut between splits."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Document:
    """One text.

    Attributes:
        name: Where the text comes from. Its hash alone decides whether the
            document trains or is held out, so the name must not depend on what
            else is read.
        text: Unicode text, in any amount.
        source: What the summary counts this document under.
    """

    name: str
    text: str
    source: str = ""
