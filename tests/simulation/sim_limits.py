"""Books of the limits: who holds slots of what, and who was powered on when.

All scopes are worked out here from the model of the revision, never asked of the product.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from sim_inventory import SERVERS, TEMPLATES, Model, Shape
from sim_policy import reserved_of
from sim_record import Book, Known, Moment
from sim_room import CallLog

from metalwright.model.operation import EffectKind

OPERATOR_PRIORITY = 900
_BOOTS = frozenset({"deploy", "rebuild", "reboot", "power on"})
_RELEASES = frozenset({"undeploy", "power off"})


class LimitBooks(Book):
    """At each admission, no more operations hold slots of anything than the revision allows."""

    def __init__(self, shape: Shape) -> None:
        self.overshoot = 0
        self._shape = shape
        self._held: Counter[str] = Counter()

    def admitted(self, known: Known, moment: Moment) -> None:
        """It takes a slot in each of its scopes, limited now or not: that may come later."""
        known.scopes = tuple(self._scopes(known))
        self._held.update(known.scopes)
        for scope in known.scopes:
            limit = self._limit(scope, moment.model)
            if limit is not None and self._held[scope] > limit:
                self.overshoot += 1
                said = f"{scope}: {self._held[scope]} of {limit} with {known.node}"
                self.broken("limits hold", said)

    def released(self, known: Known) -> None:
        """Its slots are free."""
        self._held.subtract(known.scopes)
        known.scopes = ()

    def _scopes(self, known: Known) -> Iterator[str]:
        node = known.node
        yield "fleet"
        yield f"pool/{self._shape.pool_of[node]}"
        yield f"rack/{self._shape.rack_of(node)}"
        yield "driver"
        yield f"conductor/{self._shape.group_of(node)}"
        image = TEMPLATES[known.template][1] if known.template is not None else None
        if image is not None and known.verb in _BOOTS:
            yield f"image/{SERVERS[image]}"
        release, operator = known.verb in _RELEASES, known.priority >= OPERATOR_PRIORITY
        if not release:
            yield "lane/not-release"
        if not operator:
            yield "lane/not-operator"
        if not release and not operator:
            yield "lane/ordinary"
        if known.attempts > 1:
            yield "lane/retry"

    def _limit(self, scope: str, model: Model) -> int | None:
        kind, _, rest = scope.partition("/")
        fleet, reserved = model["policy/fleet"], reserved_of(model)
        releases, operators = reserved.get("releases", 0), reserved.get("operators", 0)
        lanes = {
            "not-release": releases,
            "not-operator": operators,
            "ordinary": releases + operators,
        }
        if kind == "lane" and rest in lanes:
            return fleet - lanes[rest] if lanes[rest] else None
        found = {
            "fleet": fleet,
            "pool": model.get(f"limit/{rest}"),
            "rack": model.get("policy/rack"),
            "driver": model.get("policy/driver"),
            "conductor": (model.get("policy/conductors") or {}).get(rest),
            "image": (model.get("policy/images") or {}).get(rest),
            "lane": model.get("policy/retries") or max(1, fleet // 5),
        }
        return found[kind] or None


ACT_LATE_S = 45.0
"""A machine is powered on at most so long after the intent: the effect's time-out, a queue."""

COMMIT_LATE_S = 1.0
SLEW = 1.15


@dataclass(slots=True)
class Bucket:
    """Tokens by true time."""

    most: float
    per_s: float
    tokens: float
    at_s: float

    def take(self, now_s: float) -> bool:
        """Take one; false when there is none."""
        self.tokens = min(self.most, self.tokens + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        self.tokens -= 1
        return self.tokens >= -1e-6


class StartBooks(Book):
    """No more power-ons of a domain within a time than its rate allows: as they are meant, and by
    the machines' own clock.

    The engine's clock follows a clock that was set by a tenth, and a new process begins at once
    where the wall is: then its buckets may be full.
    """

    def __init__(self, shape: Shape) -> None:
        self.clock_was_set = False
        self._shape = shape
        self._buckets: dict[tuple[object, ...], Bucket] = {}
        self._model: Model = {}

    def process_began(self) -> None:
        """Another daemon drives."""
        if self.clock_was_set:
            self._buckets.clear()

    def intended(self, known: Known, kind: str, moment: Moment) -> None:
        """A power-on was journalled."""
        self._model = moment.model
        if kind == "power on":
            self._take("meant", known.node, COMMIT_LATE_S)

    def acted(self, log: CallLog) -> None:
        """A machine was told."""
        if log.effect.kind is EffectKind.POWER_ON:
            self._take("done", log.node, ACT_LATE_S)

    def _take(self, what: str, node: str, late_s: float) -> None:
        domains = {"pdu": self._shape.pdu_of(node), "rack": self._shape.rack_of(node), None: ""}
        for number, rate in enumerate(self._model.get("policy/rates") or ()):
            starts, label, now_s = rate["starts"], rate.get("label"), self.now_s()
            key = (what, number, starts, rate["per"], label, domains[label])
            if key not in self._buckets:
                per_s = starts / seconds(rate["per"]) * (SLEW if self.clock_was_set else 1.0)
                most = starts + per_s * late_s
                self._buckets[key] = Bucket(most, per_s, most, now_s)
            if not self._buckets[key].take(now_s):
                self.broken("start rates hold", f"{node}: {what} beyond {rate}")


def seconds(text: str) -> float:
    """The seconds of a duration such as `90s`."""
    return float(re.sub("s$", "", text))
