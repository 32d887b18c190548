"""A template as a hardware engine is told it for one node and one attempt. Pure values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """Texts that are rendered, and, where the boot service serves this boot, its addresses.

    `kernel` and `ramdisk` are where the engine fetches them, "" where the image's own URLs have to
    do. `data_source` is the kernel argument that leads cloud-init to the service, "" where there is
    no data or no service. `attempt` is the fence of the operation that the boot's token was issued
    for; `None` where nothing is served. `reports` says that the system is to report by that token.
    """

    kernel_args: tuple[str, ...] = ()
    user_data: str | None = None
    vendor_data: str | None = None
    kernel: str = ""
    ramdisk: str = ""
    data_source: str = ""
    attempt: int | None = None
    reports: bool = False
