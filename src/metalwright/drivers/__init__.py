"""The only room that speaks to hardware. Import the drivers from their modules.

This file stays empty of imports: a worker process and a fleet without IPMI must not pay for pyghmi.
"""
