"""Bugs planted in the running code one at a time, and looked for with a profile that suits them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from tests.simulation.judge import Violation
from tests.simulation.profile import Profile
from tests.simulation.scenario import run

SEEDS: Final = 25
FOUND_WITHIN: Final = 150  # some bugs show in one seed of twenty-five
Patch = pytest.MonkeyPatch
Mutation = Callable[[Patch], None]


class Planting:
    """The mutations of one module, by name."""

    def __init__(self) -> None:
        self._mutations: dict[str, tuple[Mutation, Profile]] = {}

    def planted(self, profile: Profile) -> Callable[[Mutation], Mutation]:
        """Declare a mutation, to be found under this profile."""

        def note(mutation: Mutation) -> Mutation:
            self._mutations[mutation.__name__] = (mutation, profile)
            return mutation

        return note

    @property
    def names(self) -> list[str]:
        return list(self._mutations)

    def is_found(self, name: str, patch: Patch) -> None:
        """Plant the bug and look for it. Raises ``AssertionError`` when no seed finds it."""
        mutation, profile = self._mutations[name]
        mutation(patch)
        assert first_found(profile) is not None, f"{FOUND_WITHIN} seeds have not found it"


def first_found(profile: Profile) -> int | None:
    """The first seed that finds something."""
    for seed in range(FOUND_WITHIN):
        try:
            run(seed, profile)
        except Violation:
            return seed
    return None


def innocent(profile: Profile) -> None:
    """Run the same seeds in the code as it is. Raises ``Violation`` when one finds something."""
    for seed in range(SEEDS):
        run(seed, profile)
