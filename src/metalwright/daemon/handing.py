"""What a hardware engine is told of a template: rendered, and served by the boot service.

It puts the boot room and the engine's driver together. Without the boot service texts are rendered
all the same; without the extra for that the driver refuses those that would have to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

from metalwright.daemon.booting import Booting
from metalwright.daemon.secrets import secret_text
from metalwright.drivers.contract import Driver
from metalwright.drivers.credentials import Secrets
from metalwright.drivers.ironic import IronicDriver
from metalwright.settings import Settings
from metalwright.store import Store


def hand_over(
    drivers: Mapping[str, Driver],
    booting: Booting | None,
    parts: tuple[Settings, Store, Secrets],
    stack: ExitStack,
) -> Mapping[str, Driver]:
    """The drivers as a fleet uses them: the boot service wipes for those that boot what they are
    told, and hands templates to those of hardware engines. `stack` ends what is started for it.
    """
    settings, store, secrets = parts
    engines = [each for each in drivers.values() if isinstance(each, IronicDriver)]
    if engines:
        try:
            from metalwright.boot.handing import Handing
            from metalwright.boot.render import Renderer
        except ImportError:
            pass
        else:
            renderer = stack.enter_context(Renderer(partial(secret_text, secrets)))
            desk = booting.desk if booting is not None else None
            url = settings.drivers.ironic.boot_url or ""
            for engine in engines:
                engine.boot_by(Handing(renderer, desk, store.heard, url))
    return booting.drivers(drivers) if booting is not None else drivers
