"""The nouns that negatives are drawn from, and the draw: nouns that an image does not hold, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

# Where a web view has more nouns than these, its rarest are not drawn: most are typing errors and names.
MOST = 100_000
_ROUNDS = 8


class Vocabulary:
    """Nouns with the odds of each: its count to a power (0: even)."""

    def __init__(self, counts: Mapping[str, int], power: float) -> None:
        common = sorted(counts, key=lambda noun: (-counts[noun], noun))[:MOST]
        self.nouns = sorted(common)
        self._odds = np.array([counts[noun] for noun in self.nouns], dtype=np.float64) ** power
        self._below = np.cumsum(self._odds) / max(self._odds.sum(), 1e-300)

    def __len__(self) -> int:
        return len(self.nouns)

    def draw(self, rng: np.random.Generator, number: int, present: Callable[[str], bool]) -> list[str]:
        """Up to `number` nouns that are not present, without replacement, in proportion to their odds.

        Drawn with replacement and the present and doubled ones left out, which comes to the same; what is still
        missing after some rounds (few nouns, or a very common one) is drawn from the list of those that are left.
        """
        drawn: dict[str, None] = {}
        for _ in range(_ROUNDS if len(self) > 4 * number else 0):
            places = np.searchsorted(self._below, rng.random(2 * number), side="right")
            for place in np.minimum(places, len(self) - 1).tolist():
                noun = self.nouns[place]
                if noun not in drawn and not present(noun):
                    drawn[noun] = None
                    if len(drawn) == number:
                        return list(drawn)
        return [*drawn, *self._from_the_rest(rng, number - len(drawn), lambda n: n in drawn or present(n))]

    def _from_the_rest(
        self, rng: np.random.Generator, number: int, taken: Callable[[str], bool]
    ) -> list[str]:
        places = [place for place, noun in enumerate(self.nouns) if not taken(noun)]
        if not places or number < 1:
            return []
        # the first to arrive of clocks that tick at these odds: a draw without replacement
        arrivals = rng.standard_exponential(len(places)) / self._odds[places]
        return [self.nouns[places[i]] for i in np.argsort(arrivals)[:number]]
