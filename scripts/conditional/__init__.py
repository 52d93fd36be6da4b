"""Cases, examples and the picture of conditional generation."""
