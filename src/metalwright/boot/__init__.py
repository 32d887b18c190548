"""What nodes fetch: boot scripts, artifacts, cloud-init data; and what they report.

This file stays empty of imports: a fleet without the boot service must not pay for a web framework.
"""
