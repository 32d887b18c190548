"""Every kind of problem that the loader can find, with a stable code and a sentence each.

The codes are what tools and the documentation refer to: a code is never renamed or given another
meaning. `docs/inventory.md` has a heading for each. This module finds nothing by itself.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Code(StrEnum):
    """The code of a finding: where it belongs, a slash, what it is."""

    TREE_SYMLINK = "tree/symlink"
    TREE_SUBMODULE = "tree/submodule"
    TREE_NAME = "tree/name"
    TREE_SUFFIX = "tree/suffix"
    TREE_TOO_LARGE = "tree/too-large"
    TREE_UNREADABLE = "tree/unreadable"

    FILE_TOO_LARGE = "file/too-large"
    FILE_ENCODING = "file/encoding"
    FILE_CONTROL_CHARACTER = "file/control-character"
    FILE_TOO_MANY_FINDINGS = "file/too-many-findings"

    YAML_SYNTAX = "yaml/syntax"
    YAML_DUPLICATE_KEY = "yaml/duplicate-key"
    YAML_ANCHOR = "yaml/anchor"
    YAML_ALIAS = "yaml/alias"
    YAML_TAG = "yaml/tag"
    YAML_DIRECTIVE = "yaml/directive"
    YAML_MERGE_KEY = "yaml/merge-key"
    YAML_KEY_NOT_TEXT = "yaml/key-not-text"
    YAML_NUMBER = "yaml/number"
    YAML_TOO_DEEP = "yaml/too-deep"
    YAML_TOO_MANY_NODES = "yaml/too-many-nodes"
    YAML_TOO_MANY_DOCUMENTS = "yaml/too-many-documents"

    DOCUMENT_NOT_A_MAPPING = "document/not-a-mapping"
    DOCUMENT_API_VERSION = "document/api-version"
    DOCUMENT_KIND = "document/kind"

    SCHEMA_UNKNOWN_FIELD = "schema/unknown-field"
    SCHEMA_MISSING_FIELD = "schema/missing-field"
    SCHEMA_WRONG_TYPE = "schema/wrong-type"
    SCHEMA_WRONG_VALUE = "schema/wrong-value"

    SECRET_IN_URL = "secret/in-url"  # noqa: S105 - the name of a finding

    REFERENCE_UNKNOWN = "reference/unknown"
    REFERENCE_RANGE = "reference/range"
    REFERENCE_REPEATED = "reference/repeated"
    REFERENCE_TOO_MANY = "reference/too-many"

    DUPLICATE_NAME = "duplicate/name"
    DUPLICATE_MAC = "duplicate/mac"
    DUPLICATE_BMC = "duplicate/bmc"
    DUPLICATE_SERIAL = "duplicate/serial"
    DUPLICATE_SYSTEM_UUID = "duplicate/system-uuid"
    DUPLICATE_POLICY = "duplicate/policy"

    NODE_UNKNOWN_DRIVER = "node/unknown-driver"
    NODE_WITHOUT_BMC = "node/without-bmc"
    NODE_WITHOUT_NIC = "node/without-nic"
    NODE_BOOT_NICS = "node/boot-nics"
    NODE_BOOT_INTERFACE = "node/boot-interface"

    POOL_NODE_IN_TWO = "pool/node-in-two"
    POOL_EMPTY = "pool/empty"
    SELECTOR_MATCHES_NOTHING = "selector/matches-nothing"
    SELECTOR_TOO_MUCH = "selector/too-much"

    TEMPLATE_CYCLE = "template/cycle"
    TEMPLATE_TOO_DEEP = "template/too-deep"
    TEMPLATE_WITHOUT_METHOD = "template/without-method"
    TEMPLATE_WITHOUT_IMAGE = "template/without-image"
    TEMPLATE_TOO_LARGE = "template/too-large"
    TEMPLATE_NO_REPORT = "template/no-report"

    ASSIGNMENT_OUTSIDE_POOL = "assignment/outside-pool"
    ASSIGNMENT_OVERLAP = "assignment/overlap"
    ASSIGNMENT_TOO_MANY_WINDOWS = "assignment/too-many-windows"

    POLICY_RAMDISK = "policy/ramdisk"
    LIMIT_MATCHES_NOTHING = "limit/matches-nothing"
    ROLLOUT_LABEL_MISSING = "rollout/label-missing"

    INVENTORY_NO_NODES = "inventory/no-nodes"
    INVENTORY_TOO_MANY_FINDINGS = "inventory/too-many-findings"


MEANING: Final[dict[Code, str]] = {
    Code.TREE_SYMLINK: "A symbolic link: links are not followed. An error where it is named like an"
    " inventory file, a warning elsewhere.",
    Code.TREE_SUBMODULE: "A submodule (a warning): nothing below it is read.",
    Code.TREE_NAME: "A file name that is not UTF-8, has control characters or is too long.",
    Code.TREE_SUFFIX: "A file that looks like YAML but is not read, because its name does not end"
    " in .yaml or .yml in lower case (a warning).",
    Code.TREE_TOO_LARGE: "The revision has more files, or more bytes of YAML, than are read.",
    Code.TREE_UNREADABLE: "A file of a work tree that cannot be read from disk.",
    Code.FILE_TOO_LARGE: "A file larger than 4 MiB; it was not read.",
    Code.FILE_ENCODING: "A file that is not UTF-8.",
    Code.FILE_CONTROL_CHARACTER: "A NUL or another control character in a file.",
    Code.FILE_TOO_MANY_FINDINGS: "More findings in one file than are shown; mend the first ones"
    " first.",
    Code.YAML_SYNTAX: "A file that is not YAML; what follows in this file was not read.",
    Code.YAML_DUPLICATE_KEY: "The same key twice in one mapping; one of the two would be lost.",
    Code.YAML_ANCHOR: "An anchor (&name): the inventory says everything where it is meant.",
    Code.YAML_ALIAS: "An alias (*name): the inventory says everything where it is meant.",
    Code.YAML_TAG: "An explicit tag (!tag): the types of values are fixed by the schema.",
    Code.YAML_DIRECTIVE: "A line that begins with a percent sign: YAML directives are not used.",
    Code.YAML_MERGE_KEY: "A merge key (<<): it is not part of YAML 1.2; a template can extend.",
    Code.YAML_KEY_NOT_TEXT: "A key that is not text: a number, a truth value, null, or a list.",
    Code.YAML_NUMBER: "A number with more digits than can be meant.",
    Code.YAML_TOO_DEEP: "Values nested more than 50 levels deep; the file was not read further.",
    Code.YAML_TOO_MANY_NODES: "A file with more than 100,000 values; it was not read further.",
    Code.YAML_TOO_MANY_DOCUMENTS: "A file with more than 10,000 documents; not read further.",
    Code.DOCUMENT_NOT_A_MAPPING: "A document that is a list or a scalar, not a mapping.",
    Code.DOCUMENT_API_VERSION: "A document without apiVersion metalwright/v1.",
    Code.DOCUMENT_KIND: "A document without a kind, or with one that does not exist.",
    Code.SCHEMA_UNKNOWN_FIELD: "A field that this kind of document does not have.",
    Code.SCHEMA_MISSING_FIELD: "A field that this kind of document must have is missing.",
    Code.SCHEMA_WRONG_TYPE: "A value of the wrong type, such as a number where text is needed.",
    Code.SCHEMA_WRONG_VALUE: "A value of the right type that is not allowed here.",
    Code.SECRET_IN_URL: "A URL with a user name or password; secrets do not belong in git.",
    Code.REFERENCE_UNKNOWN: "A name that no document of that kind has.",
    Code.REFERENCE_RANGE: "Text that is neither a node name nor a node range.",
    Code.REFERENCE_REPEATED: "A node named twice in one list (a warning).",
    Code.REFERENCE_TOO_MANY: "The lists of nodes name more nodes than are unfolded.",
    Code.DUPLICATE_NAME: "Two documents of one kind with the same name.",
    Code.DUPLICATE_MAC: "One MAC address on two interfaces.",
    Code.DUPLICATE_BMC: "Two nodes behind one BMC address and port.",
    Code.DUPLICATE_SERIAL: "Two nodes with the same serial number.",
    Code.DUPLICATE_SYSTEM_UUID: "Two nodes with the same system UUID.",
    Code.DUPLICATE_POLICY: "More than one policy; there is one fleet, so there is one policy.",
    Code.NODE_UNKNOWN_DRIVER: "A node whose driver is not installed here.",
    Code.NODE_WITHOUT_BMC: "A node whose driver needs a BMC address and credentials, and has none.",
    Code.NODE_WITHOUT_NIC: "A node of the driver wol without one interface to wake it by.",
    Code.NODE_BOOT_NICS: "More than one interface of a node is marked as the one to boot from.",
    Code.NODE_BOOT_INTERFACE: "A node whose driver cannot boot a machine in this way.",
    Code.POOL_NODE_IN_TWO: "A node that is in two pools; a node is in one pool at most.",
    Code.POOL_EMPTY: "A pool without any node (a warning).",
    Code.SELECTOR_MATCHES_NOTHING: "A selector that matches no node (a warning).",
    Code.SELECTOR_TOO_MUCH: "The selectors of pools and freezes together are more work than is"
    " done: too many long ones for so many nodes.",
    Code.TEMPLATE_CYCLE: "Boot templates that extend each other in a circle.",
    Code.TEMPLATE_TOO_DEEP: "A chain of more than 16 boot templates that extend each other.",
    Code.TEMPLATE_WITHOUT_METHOD: "A boot template without a method, neither its own nor a"
    " parent's.",
    Code.TEMPLATE_WITHOUT_IMAGE: "A boot template whose method needs artifacts that its image does"
    " not have, or that has no image.",
    Code.TEMPLATE_NO_REPORT: "Checks that a machine answers by its report, where what it runs does"
    " not phone home (a warning).",
    Code.TEMPLATE_TOO_LARGE: "A boot template with more than 256 kernel arguments, 32 checks or 32"
    " files once its parents are folded in.",
    Code.ASSIGNMENT_OUTSIDE_POOL: "An assignment of a node that is not in the assignment's pool.",
    Code.ASSIGNMENT_OVERLAP: "Two assignments that want one node at the same time.",
    Code.ASSIGNMENT_TOO_MANY_WINDOWS: "More windows of assignments than are compared.",
    Code.POLICY_RAMDISK: "The policy's ramdisk is an image without a kernel or without an initrd.",
    Code.LIMIT_MATCHES_NOTHING: "A limit, start rate or blast radius by a label, driver, conductor"
    " group or image server that nothing in the inventory has (a warning).",
    Code.ROLLOUT_LABEL_MISSING: "A rollout by a label that members of the pool lack (a warning).",
    Code.INVENTORY_NO_NODES: "A revision without any node: an empty read is never an instruction.",
    Code.INVENTORY_TOO_MANY_FINDINGS: "More findings than are shown; mend the first ones first.",
}
