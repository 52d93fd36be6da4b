"""What a potential is worth: errors on labelled structures and physical tests beside a teacher, on one card."""
