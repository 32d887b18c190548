"""What one adopted node lacks to be as desired: the verb, the cause, the reasons; or nothing.

This only compares. Whether the difference may be mended now is asked in `blockers`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from metalwright.model.desired import DesiredNode, Holder, Target
from metalwright.model.documents import Node
from metalwright.model.fields import format_instant
from metalwright.model.inventory import Inventory, ResolvedTemplate, Source
from metalwright.model.observed import BootProgress, Observation, Power, Reading
from metalwright.model.operation import Applied, NodeMemory, Verb
from metalwright.model.plan import Cause, Reason
from metalwright.model.template import Method
from metalwright.model.tenancy import PowerState
from metalwright.plan.changes import ChangeClass, FieldEdit, class_of, edits
from metalwright.plan.context import PlanContext
from metalwright.plan.spelling import camel
from metalwright.plan.tenancy import ASSIGNMENT, same_tenancy
from metalwright.plan.verbs import POWERS_OFF, destroys_data, into, wakes

UNKNOWN = "unknown"
OVERWRITTEN = "unknown, its disks were being overwritten"

Shift = tuple[str, str, str]
"""A field, its old and its new value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything that is known of one adopted node at the instant of the plan."""

    node: Node
    wanted: DesiredNode
    remembered: NodeMemory
    observation: Observation | None
    inventory: Inventory
    context: PlanContext
    at: datetime

    @property
    def reading(self) -> Reading | None:
        """What the hardware answered, if it did."""
        return self.observation.reading if self.observation is not None else None

    @property
    def power(self) -> Power:
        """The power state read, `unknown` where there is no reading."""
        return self.observation.power if self.observation is not None else Power.UNKNOWN

    @property
    def known(self) -> Applied | None:
        """What the node was brought to, or was before something interrupted us."""
        return self.remembered.applied or self.remembered.former


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What has to be done to a node.

    `edit` says that git changed within a tenancy that is certainly there; `staged` that the change
    goes out in the waves of its pool's rollout: it is no boundary of an assignment; `consented`
    that the boundary which is passed allows to destroy what is on the disks.
    """

    verb: Verb
    cause: Cause
    reasons: tuple[Reason, ...]
    edit: bool = False
    staged: bool = False
    consented: bool = False
    disruptive: bool
    destroys_data: bool


def plainly_as_desired(
    node: Node, wanted: DesiredNode, remembered: NodeMemory, seen: Observation | None
) -> bool:
    """Whether nothing differs, for certain and at little cost; false means "look closely".

    Nearly every node of nearly every cycle is settled here: it takes microseconds.
    """
    applied, target = remembered.applied, wanted.target
    if applied is None or remembered.operation is not None or seen is None or seen.reading is None:
        return False
    reading, spec = seen.reading, node.spec
    return (
        wanted.hold is None
        and remembered.hold is None
        and remembered.quarantine is None
        and applied.target.digest == target.digest
        and applied.holder == wanted.holder
        and reading.power is (Power.ON if target.power is PowerState.ON else Power.OFF)
        and (
            reading.template_digest is None
            or (target.template is not None and reading.template_digest == target.template.digest)
        )
        and reading.identity.serial in (None, spec.serial)
        and reading.identity.system_uuid in (None, spec.system_uuid)
        and (
            not reading.identity.macs
            or all(nic.mac in reading.identity.macs for nic in spec.nics if nic.boot)
        )
    )


def difference(case: Case) -> Difference | None:
    """What git wants otherwise, or else what the hardware has otherwise; `None` as desired."""
    return _from_git(case) or _from_hardware(case)


def _from_git(case: Case) -> Difference | None:
    wanted, known = case.wanted, case.known
    if known is None:
        verb = into(wanted.target)
        return _difference(case, verb, _anew(case), consented=wanted.data_loss_consent)
    same_target = known.target.digest == wanted.target.digest
    same = same_tenancy(known.holder, wanted.holder, case.inventory, same_target=same_target)
    certain = case.remembered.applied is not None
    if same and same_target and certain:
        return None
    if not same:
        boundary = ASSIGNMENT in (known.holder.kind, wanted.holder.kind)
        return _difference(
            case,
            into(wanted.target),
            _boundary(case, known),
            consented=boundary or wanted.data_loss_consent,
            staged=not boundary,
        )
    edited = _edits(known.target, wanted.target)
    within = _verb_within(case, edited, certain=certain)
    if within is None:
        return None
    reasons = _anew(case) if same_target else _edited(case, known, edited)
    consented = wanted.data_loss_consent
    return _difference(case, within, reasons, consented=consented, edit=certain, staged=True)


def _edits(old: Target, new: Target) -> tuple[FieldEdit, ...] | None:
    """What differs between the two templates; `None` where one of both has none."""
    if old.template is None or new.template is None:
        return None
    return edits(old.template, new.template)


def _verb_within(case: Case, edited: tuple[FieldEdit, ...] | None, *, certain: bool) -> Verb | None:
    """The verb within one tenancy.

    Not `certain` means that an operation was interrupted: then the least that brings the machine
    back is done, and what is on its disks is kept. Where a wipe or an installation was begun,
    nobody knows what that is: the machine is made anew, however little git wants otherwise.
    """
    if edited is None:
        return into(case.wanted.target)
    if case.remembered.overwritten:
        return Verb.REBUILD
    needed = class_of(edited)
    if needed is ChangeClass.REPROVISION:
        return Verb.REBUILD
    return None if needed is ChangeClass.NONE and certain else Verb.REBOOT


def _from_hardware(case: Case) -> Difference | None:
    """Drift: somebody else changed the machine since it was brought to what git still wants."""
    target, reading = case.wanted.target, case.reading
    if reading is None or reading.power is Power.UNKNOWN:
        return None
    source = case.wanted.source
    if reading.power.value != target.power.value:
        verb = Verb.POWER_ON if target.power is PowerState.ON else Verb.POWER_OFF
        found = _drift("power", target.power.value, reading.power.value, source)
        return _difference(case, verb, (found,))
    template = target.template
    if template is None or reading.boot_progress is not BootProgress.OS_RUNNING:
        return None
    if reading.template_digest in (None, template.digest):
        return None
    verb = Verb.REBUILD if template.method is Method.DISK else Verb.REBOOT
    name = _name_of(case.inventory, str(reading.template_digest))
    return _difference(case, verb, (_drift("template", template.name, name, source),))


def _difference(case: Case, verb: Verb, reasons: tuple[Reason, ...], **flags: bool) -> Difference:
    destroys = destroys_data(verb, case.wanted.target.template)
    woken = wakes(verb, case.wanted.target, case.reading)
    powers_off = verb in POWERS_OFF and case.power is not Power.OFF and not woken
    return Difference(
        verb=verb,
        cause=reasons[0].cause,
        reasons=reasons,
        **flags,
        disruptive=destroys or powers_off,
        destroys_data=destroys,
    )


def _anew(case: Case) -> tuple[Reason, ...]:
    field, text = _what(case.wanted.target)
    found, source = OVERWRITTEN if case.remembered.overwritten else UNKNOWN, case.wanted.source
    return (Reason(field=field, desired=text, observed=found, cause=Cause.GIT, source=source),)


def _boundary(case: Case, known: Applied) -> tuple[Reason, ...]:
    wanted = case.wanted
    holder = ("holder", _who(known.holder), _who(wanted.holder))
    what = _shift(known.target, wanted.target)
    shifts = (holder,) if what[1] == what[2] else (holder, what)
    return tuple(_git(case, known, shift, wanted.source) for shift in shifts)


def _edited(case: Case, known: Applied, edited: tuple[FieldEdit, ...] | None) -> tuple[Reason, ...]:
    old, new = known.target.template, case.wanted.target.template
    if edited is None or old is None or new is None:
        shift = _shift(known.target, case.wanted.target)
        return (_git(case, known, shift, case.wanted.source),)
    return tuple(
        _git(
            case,
            known,
            (camel(edit.field), edit.old, edit.new),
            _place(case, old, new, edit.field),
        )
        for edit in edited
    )


def _git(case: Case, known: Applied, shift: Shift, source: Source) -> Reason:
    """The reason for a shift that git wants, said at `source`."""
    before, now = known.source, case.wanted.source
    moved = (before.path, before.field) != (now.path, now.field)
    return Reason(
        field=shift[0],
        observed=shift[1],
        desired=shift[2],
        cause=Cause.GIT,
        source=source,
        former_source=before if moved else None,
        former_revision=known.revision,
    )


def _drift(field: str, desired: str, observed: str, source: Source) -> Reason:
    return Reason(field=field, desired=desired, observed=observed, cause=Cause.DRIFT, source=source)


def _place(case: Case, old: ResolvedTemplate, new: ResolvedTemplate, field: str) -> Source:
    """Where git gives a field of the new template: the assignment or pool that names another
    template, else the document in the template's chain that the value comes from.
    """
    if old.name != new.name:
        return case.wanted.source
    origin, value = new.name, getattr(new, field)
    for parent in new.chain[1:]:
        inherited = case.inventory.resolved.get(parent)
        if inherited is None or not _comes_from(field, value, old, inherited):
            break
        origin = parent
    document = case.inventory.sources.get(("BootTemplate", origin))
    if document is None:
        return case.wanted.source
    return replace(document, field=f"spec.{camel(field)}")


def _comes_from(field: str, value: object, old: ResolvedTemplate, parent: ResolvedTemplate) -> bool:
    """Whether a parent gives the value. Kernel arguments add up, so there the new ones count."""
    if field != "kernel_args" or not isinstance(value, tuple):
        return bool(getattr(parent, field) == value)
    added = set(value) - set(old.kernel_args)
    return bool(added) and added <= set(parent.kernel_args)


def _what(target: Target) -> tuple[str, str]:
    """A target as a field and its value."""
    if target.template is None:
        return "power", target.power.value
    return "template", target.template.name


def _shift(old: Target, new: Target) -> Shift:
    (before, was), (field, now) = _what(old), _what(new)
    return field, was if before == field else f"{before} {was}", now


def _name_of(inventory: Inventory, digest: str) -> str:
    """The template of this digest by its name, where git has it."""
    names = sorted(name for name, one in inventory.resolved.items() if one.digest == digest)
    return names[0] if names else f"another (sha256:{digest[:12]})"


def _who(holder: Holder) -> str:
    since = f" since {format_instant(holder.since)}" if holder.since is not None else ""
    return f"{holder}{since}"
