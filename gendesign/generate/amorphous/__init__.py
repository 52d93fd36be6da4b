"""Amorphous models: from a random packing, a crystal or a file through the stages of a protocol."""
