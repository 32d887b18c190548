"""Machines to play with and to test on: QEMU behind OpenIPMI's BMC simulator, on this computer.

Nothing in here is needed to drive real machines, and nothing of the daemon knows that it exists: it
sees BMCs that speak IPMI, and machines that boot over the network.
"""
