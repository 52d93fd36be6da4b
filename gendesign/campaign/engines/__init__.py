"""Engines: small adapters that make shards appear, on this machine or by a scheduler."""

from gendesign.campaign.engines.base import Engine, make_engine

__all__ = ["Engine", "make_engine"]
