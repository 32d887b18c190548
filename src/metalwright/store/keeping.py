"""What the driving process keeps between its cycles, beside operations: rollouts, consents, start
rates, the times that stages took.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, insert, select

from metalwright.errors import StoreError
from metalwright.model.operation import STAGE_SAMPLES_MAX
from metalwright.model.rollout import Rollout
from metalwright.store.codec import rollout_to_text
from metalwright.store.pages import Pages, chunks
from metalwright.store.schema import consents, rollouts, stage_times, starts

CONSENTS_MAX: Final = 50_000
"""How many acknowledged changes are remembered: five of each node of a fleet of ten thousand."""

STAGE_KEYS_MAX: Final = 1_000
"""For how many pairs of stage and driver with template times are kept."""


def save_rollouts(pages: Pages, values: Sequence[Rollout], at: datetime) -> None:
    """Write rollouts as they are now; those that are written so already are left alone."""
    pages.must_drive()
    wanted = {rollout.id: rollout for rollout in values}
    texts = {key: rollout_to_text(rollout) for key, rollout in wanted.items()}
    stored: dict[str, str] = {}
    for some in chunks(wanted):
        rows = pages.run(select(rollouts.c.id, rollouts.c.body).where(rollouts.c.id.in_(some)))
        stored |= {row.id: row.body for row in rows}
    changed = [key for key in wanted if stored.get(key) != texts[key]]
    if not changed:
        return
    rows_new = [
        {
            "id": key,
            "pool": wanted[key].pool,
            "state": wanted[key].state.value,
            "wave": wanted[key].wave,
            "at": at,
            "body": texts[key],
        }
        for key in changed
    ]
    _replace(pages, delete(rollouts).where(rollouts.c.id == bindparam("of")), changed)
    pages.run(insert(rollouts), rows_new)
    pages.set_meta(rollouts_generation=pages.generation)


def consent(pages: Pages, keys: Sequence[str], at: datetime) -> None:
    """Remember keys as the newest; of more than `CONSENTS_MAX` the oldest are forgotten."""
    pages.must_drive()
    wanted = list(dict.fromkeys(keys))
    if not wanted:
        return
    _replace(pages, delete(consents).where(consents.c.key == bindparam("of")), wanted)
    last = pages.run(select(func.max(consents.c.no))).scalar() or 0
    rows = [{"key": key, "no": last + nth, "at": at} for nth, key in enumerate(wanted, 1)]
    pages.run(insert(consents), rows)
    newest = select(consents.c.no).order_by(consents.c.no.desc())
    beyond = pages.run(newest.offset(CONSENTS_MAX).limit(1)).scalar()
    if beyond is not None:
        pages.run(delete(consents).where(consents.c.no <= beyond))
    pages.set_meta(consents_generation=pages.generation)


def lapse(pages: Pages, keys: Sequence[str]) -> None:
    """Forget keys; those that are not known are nothing to forget."""
    pages.must_drive()
    _replace(pages, delete(consents).where(consents.c.key == bindparam("of")), keys)
    pages.set_meta(consents_generation=pages.generation)


def take_starts(pages: Pages, instants: Mapping[str, datetime]) -> None:
    """Write the instants of start-rate buckets."""
    pages.must_drive()
    if not instants:
        return
    _replace(pages, delete(starts).where(starts.c.bucket == bindparam("of")), instants)
    rows = [{"bucket": bucket, "at": at} for bucket, at in sorted(instants.items())]
    pages.run(insert(starts), rows)
    pages.set_meta(starts_generation=pages.generation)


def learn(pages: Pages, samples: Mapping[str, Sequence[float]], at: datetime) -> None:
    """Add what stages took, in seconds, to what is known; the newest `STAGE_SAMPLES_MAX` stay.

    Raises:
        StoreError: a time is negative or not a number.
    """
    pages.must_drive()
    fresh = {key: list(times) for key, times in samples.items() if times}
    wrong = [key for key, times in fresh.items() if not all(map(_is_time, times))]
    if wrong:
        raise StoreError(f"no times of a stage: {', '.join(sorted(wrong))}")
    if not fresh:
        return
    for some in chunks(fresh):
        query = select(stage_times.c.stage_key, stage_times.c.samples)
        for row in pages.run(query.where(stage_times.c.stage_key.in_(some))).all():
            fresh[row.stage_key] = json.loads(row.samples) + fresh[row.stage_key]
    rows = [
        {
            "stage_key": key,
            "at": at,
            "samples": json.dumps(times[-STAGE_SAMPLES_MAX:]),
            "generation": pages.generation,
        }
        for key, times in sorted(fresh.items())
    ]
    _replace(pages, delete(stage_times).where(stage_times.c.stage_key == bindparam("of")), fresh)
    pages.run(insert(stage_times), rows)
    pages.set_meta(times_generation=pages.generation)
    _forget_old_times(pages)


def _forget_old_times(pages: Pages) -> None:
    """Keep the keys that something was learnt of last."""
    newest = select(stage_times.c.stage_key).order_by(
        stage_times.c.at.desc(), stage_times.c.stage_key.desc()
    )
    gone = list(pages.run(newest.offset(STAGE_KEYS_MAX)).scalars())
    if gone:
        _replace(pages, delete(stage_times).where(stage_times.c.stage_key == bindparam("of")), gone)
        # Times are read by what was added to them, so what went is seen only by reading anew.
        pages.set_meta(forgotten_generation=pages.generation)


def _is_time(seconds: float) -> bool:
    return math.isfinite(seconds) and seconds >= 0


def _replace(pages: Pages, gone: Any, keys: Iterable[str]) -> None:
    """Remove the rows whose place is taken, without any database's own words for it."""
    pages.run(gone, [{"of": key} for key in keys])
