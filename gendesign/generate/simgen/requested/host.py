"""A host that molecules must not overlap."""

from functools import partial

from gendesign.generate.simgen.problem import Problem
from gendesign.generate.simgen.requested.findings import met_unless
from gendesign.structure.conditions import Condition, Finding, Subject
from gendesign.structure.contacts import Host


def conditions(problem: Problem) -> list[Condition]:
    """Overlap with the host, and the closest contact."""
    host = problem.host
    if host is None:
        return []
    return [
        Condition("host", "no overlap with the host", partial(_apart, host)),
        Condition("host_distance", "median closest contact with the host", partial(_contact, host), "Angstrom", False),
    ]


def _apart(host: Host, subject: Subject) -> Finding:
    """Value: the distance of the closest pair relative to the sum of its van der Waals radii."""
    contact = host.contact(subject.atoms)
    return met_unless(host.overlap(subject.atoms), contact and contact.of_vdw)


def _contact(host: Host, subject: Subject) -> Finding:
    """Value: the distance of the closest pair."""
    contact = host.contact(subject.atoms)
    if not contact:
        return Finding(None, contact)
    words = f"{contact.of_vdw:.2f} of the van der Waals radii, {contact.of_covalent:.2f} of the covalent radii"
    return Finding(None, contact.distance, words)
