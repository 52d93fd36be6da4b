"""Campaigns: many candidates through a funnel of stages, from cheap to dear, over many workers.

>>> from gendesign.campaign import Campaign
"""

from gendesign.lazy import lazy_names

_MODULES = {"Campaign": "gendesign.campaign.campaign"}
__getattr__, __dir__, __all__ = lazy_names(__name__, _MODULES)
