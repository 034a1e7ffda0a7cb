"""The nouns that negatives are drawn from, and the draw of nouns that an image does not have."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

# If a web view has more nouns, its rarest are not drawn: most of them are typing errors and names.
MAX_NOUNS = 100_000
_ROUNDS = 8


class Vocabulary:
    """Nouns with the odds of each: its count to a power (0: equal odds)."""

    def __init__(self, counts: Mapping[str, int], power: float) -> None:
        common = sorted(counts, key=lambda noun: (-counts[noun], noun))[:MAX_NOUNS]
        self.nouns = sorted(common)
        self._odds = np.array([counts[noun] for noun in self.nouns], dtype=np.float64) ** power
        self._below = np.cumsum(self._odds) / max(self._odds.sum(), 1e-300)

    def __len__(self) -> int:
        return len(self.nouns)

    def draw(self, rng: np.random.Generator, number: int, is_present: Callable[[str], bool]) -> list[str]:
        """Return up to `number` nouns that are not present, without replacement, in proportion to their odds.

        Nouns are drawn with replacement, and present and repeated ones are skipped, which is equivalent. Some rounds
        may not be enough (few nouns, or a very common one). Then the missing nouns are drawn from the remaining ones.
        """
        drawn: dict[str, None] = {}
        for _ in range(_ROUNDS if len(self) > 4 * number else 0):
            places = np.searchsorted(self._below, rng.random(2 * number), side="right")
            for place in np.minimum(places, len(self) - 1).tolist():
                noun = self.nouns[place]
                if noun not in drawn and not is_present(noun):
                    drawn[noun] = None
                    if len(drawn) == number:
                        return list(drawn)
        return [*drawn, *self._draw_rest(rng, number - len(drawn), lambda n: n in drawn or is_present(n))]

    def _draw_rest(
        self, rng: np.random.Generator, number: int, is_excluded: Callable[[str], bool]
    ) -> list[str]:
        places = [place for place, noun in enumerate(self.nouns) if not is_excluded(noun)]
        if not places or number < 1:
            return []
        # the smallest of exponential times with these rates: a draw without replacement
        arrivals = rng.standard_exponential(len(places)) / self._odds[places]
        return [self.nouns[places[i]] for i in np.argsort(arrivals)[:number]]
