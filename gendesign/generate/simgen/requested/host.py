"""A host that molecules must not overlap."""

from functools import partial

from gendesign.generate.simgen.problem import Problem
from gendesign.generate.simgen.requested.findings import met_unless
from gendesign.structure.conditions import Condition, Finding, Subject
from gendesign.structure.contacts import Host
from gendesign.structure.hydrogen_bonds import hydrogen_bonds


def conditions(problem: Problem) -> list[Condition]:
    """Overlap with the host, and the closest contact."""
    host = problem.host
    if host is None:
        return []
    return [
        Condition("host", "no overlap with the host", partial(_apart, host)),
        Condition("host_distance", "median closest contact with the host", partial(_contact, host), "Angstrom", False),
        Condition("host_contacts", "median pairs of heavy atoms in contact", partial(_contacts, host), "", False),
        Condition("host_hydrogen_bonds", "median hydrogen bonds with the host", partial(_bonds, host), "", False),
    ]


def _contacts(host: Host, subject: Subject) -> Finding:
    """Value: pairs of heavy atoms of molecule and host at most 4 Angstrom apart."""
    return Finding(None, float(host.contacts(subject.atoms)))


def _bonds(host: Host, subject: Subject) -> Finding:
    """Value: hydrogen bonds with the host by geometry."""
    return Finding(None, float(len(hydrogen_bonds(subject.atoms, host))))


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
