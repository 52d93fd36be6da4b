"""Validation of a potential: errors on labelled structures and physical tests against a teacher, on one card."""
