"""What the Ironic driver needs to know of a template for one node, and from whom.

Rendering and serving are the boot service's; the daemon wires it in. Where nobody is wired in, a
text goes to Ironic as git has it, and one that would have to be rendered is refused.
"""

from __future__ import annotations

from typing import Protocol

from metalwright.errors import PermanentError
from metalwright.model.documents import Node
from metalwright.model.handover import Handover
from metalwright.model.inventory import ResolvedTemplate
from metalwright.model.operation import Operation


class Boots(Protocol):
    """Hands templates over. See `metalwright.boot.handing.Handing`, which does."""

    def serves(self, template: ResolvedTemplate) -> bool:
        """Whether each start of this template is a boot of its own at the boot service."""

    def hand_over(
        self, node: Node, operation: Operation, timeout_s: float, *, issue: bool
    ) -> Handover:
        """The template of the operation for this node; without `issue` only tried.

        Raises:
            PermanentError: it has none to give, and why.
            NotBegunError: not yet.
        """

    def awaited(self, node: str, operation_id: str, attempt: int) -> str | None:
        """Whether the system of this boot is still to report: "", or in which words it reported a
        failure; `None` when there is nothing to wait for.
        """


class AsWritten:
    """Nothing is rendered and nothing served."""

    def serves(self, template: ResolvedTemplate) -> bool:
        """No."""
        del template
        return False

    def hand_over(
        self, node: Node, operation: Operation, timeout_s: float, *, issue: bool
    ) -> Handover:
        """The texts of git. Raises PermanentError where one has a `{`."""
        del node, timeout_s, issue
        template = operation.target.template
        assert template is not None
        texts = (*template.kernel_args, template.user_data, template.vendor_data)
        if any("{" in text for text in texts if text is not None):
            raise PermanentError(
                f"template {template.name} has to be rendered, and nothing here does that: pip"
                " install 'metalwright[boot]'"
            )
        return as_written(template)

    def awaited(self, node: str, operation_id: str, attempt: int) -> str | None:
        """Nothing."""
        del node, operation_id, attempt
        return None


def as_written(template: ResolvedTemplate) -> Handover:
    """A template whose texts are no templates."""
    return Handover(
        kernel_args=template.kernel_args,
        user_data=template.user_data,
        vendor_data=template.vendor_data,
    )
