"""Hypothesis without a time limit for each example: a busy machine is not a failing test."""

from hypothesis import settings

settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")
