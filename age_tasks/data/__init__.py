"""Labels and images: read, probed, validated, split and augmented."""
