"""A buffer of levels kept with dictionaries: what level replay may do, and what it must then be.

It draws nothing itself: it is shown what was drawn, refuses what is not allowed, and follows.
"""

import math
from collections import Counter
from dataclasses import dataclass

import jax
import numpy as np


@dataclass
class Entry:
    """One level."""

    id: int
    score: float | None = None
    in_use: bool = True
    plays: int = 1
    last: int = 0


class BufferModel:
    """Levels by entry; `seen` counts what happened, so that a test knows what it has covered."""

    def __init__(self, capacity, needed):
        self.capacity, self.needed = capacity, needed
        self.entries: dict[int, Entry] = {}
        self.clock = 0
        self.seen = Counter()

    def worth(self, index):
        entry = self.entries.get(index)
        return -math.inf if entry is None or entry.score is None else entry.score

    def free(self):
        return [i for i in range(self.capacity) if i not in self.entries or not self.in_use(i)]

    def in_use(self, index):
        return index in self.entries and self.entries[index].in_use

    def draw(self, wanted, ids, level_slots):
        free, known = self.free(), {entry.id for entry in self.entries.values()}
        enough = sum(e.score is not None for e in self.entries.values()) >= self.needed
        self.clock += int(sum(wanted))
        kept = [t for t in level_slots if t >= 0]
        assert len(kept) == len(set(kept)), "one entry for two slots"
        assert set(kept) <= set(free), "a level in use was drawn or overwritten"
        replays, fresh = [], []
        for slot, level_slot in enumerate(level_slots):
            if not wanted[slot]:
                assert level_slot == -1
            elif (
                level_slot >= 0
                and level_slot in self.entries
                and self.entries[level_slot].id == ids[slot]
            ):
                assert self.entries[level_slot].score is not None, "replayed but never evaluated"
                assert enough, "replayed too early"
                replays.append(level_slot)
            else:
                assert ids[slot] not in known, "a known level has another level_slot"
                fresh.append(slot)
        placed = [slot for slot in fresh if level_slots[slot] >= 0]
        self.seen.update(
            replayed=len(replays), placed=len(placed), no_slot=len(fresh) - len(placed)
        )
        room = len(free) - len(replays)
        assert len(placed) == min(room, len(fresh)), "not kept although an entry was free"
        lowest = sorted(self.worth(i) for i in free if i not in replays)[: len(placed)]
        assert sorted(self.worth(level_slots[slot]) for slot in placed) == lowest
        for index in replays:
            entry = self.entries[index]
            entry.in_use, entry.plays, entry.last = True, entry.plays + 1, self.clock
        for slot in placed:
            self.entries[level_slots[slot]] = Entry(ids[slot], last=self.clock)

    def report(self, level_slots, scores, ended):
        reported = {t: s for t, s, e in zip(level_slots, scores, ended, strict=True) if e}
        for index, score in reported.items():
            if self.in_use(index):
                self.entries[index].in_use = False
                self.entries[index].score = score if math.isfinite(score) else None
                self.seen["dropped" if not math.isfinite(score) else "scored"] += 1
            else:
                self.seen["ignored"] += 1

    def check(self, state):
        """Asserts that the arrays say the same."""
        state = jax.device_get(state)
        assert int(state.clock) == self.clock
        for index in range(self.capacity):
            entry = self.entries.get(index)
            if entry is None:
                assert int(state.plays[index]) == 0
                assert not state.in_use[index]
                assert not state.evaluated[index]
                continue
            assert int(state.levels["id"][index]) == entry.id
            assert int(state.plays[index]) == entry.plays
            assert int(state.last_played[index]) == entry.last
            assert bool(state.in_use[index]) == entry.in_use
            assert bool(state.evaluated[index]) == (entry.score is not None)
            if entry.score is not None:
                assert float(state.scores[index]) == np.float32(entry.score)
