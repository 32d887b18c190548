"""git and YAML → an `Inventory` with its references resolved, or every problem at once.

It reads one branch of one repository and changes nothing in it. What the inventory means at an
instant is the schedule's to say.
"""

from metalwright.inventory.codes import MEANING, Code
from metalwright.inventory.directory import check_directory, load_directory
from metalwright.inventory.loader import Loader
from metalwright.inventory.location import without_secrets
from metalwright.inventory.repository import Repository
from metalwright.inventory.sealed import sealed_files
from metalwright.inventory.watch import watch_repository

__all__ = [
    "MEANING",
    "Code",
    "Loader",
    "Repository",
    "check_directory",
    "load_directory",
    "sealed_files",
    "watch_repository",
    "without_secrets",
]
