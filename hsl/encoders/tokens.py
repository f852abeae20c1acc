"""open_clip's tokenizer with the vocabulary cut to a list of words."""

import re

import torch
from torch import Tensor

from hsl.errors import HslError


class WordTokenizer:
    """Byte-pair tokens of a few known words, numbered anew so that the embedding stays small.

    Args:
        words: the known words and signs, in lower case.
        context_length: tokens a text, start and end included.
    """

    def __init__(self, words: tuple[str, ...], context_length: int) -> None:
        from open_clip.tokenizer import SimpleTokenizer  # slow to import

        bpe = SimpleTokenizer()
        self.words = words
        self.context_length = context_length
        pieces: dict[str, list[int]] = {word: bpe.encode(word) for word in words}
        used = sorted({token for tokens in pieces.values() for token in tokens})
        number = {token: i + 1 for i, token in enumerate(used)}  # 0 pads
        self._tokens = {word: [number[t] for t in tokens] for word, tokens in pieces.items()}
        self._start, self._end = len(used) + 1, len(used) + 2

    @property
    def size(self) -> int:
        """Number of tokens. The end token is the last: open_clip reads a text where the token
        number is highest."""
        return self._end + 1

    def __call__(self, texts: list[str]) -> Tensor:
        """Token numbers ``[N, context_length]`` int64. A full stop at the end is dropped.

        Raises:
            HslError: a word outside the vocabulary, or too long a text.
        """
        out = torch.zeros(len(texts), self.context_length, dtype=torch.long)
        for row, text in zip(out, texts, strict=True):
            tokens = [self._start]
            for word in re.findall(r"[a-z]+|[^\sa-z]", text.lower().rstrip(" .")):
                if word not in self._tokens:
                    raise HslError(
                        f"{word!r} is not a word of this CLIP's vocabulary: {' '.join(self.words)}"
                    )
                tokens += self._tokens[word]
            tokens.append(self._end)
            if len(tokens) > self.context_length:
                raise HslError(f"{text!r}: longer than {self.context_length} tokens; shorten it")
            row[: len(tokens)] = torch.tensor(tokens)
        return out
