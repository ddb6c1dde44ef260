"""Package databases inside images: found in layers, parsed without running anything, merged as containers do.

Every file is hostile: sizes, counts and texts are bounded, and what cannot be read is named, not guessed.
Not here: SBOMs that somebody made and attached (`report.carried`).
"""

from isthmus.report.packages.cache import LayerCache
from isthmus.report.packages.image import ImagePackages, packages_of
from isthmus.report.packages.layer import LayerFacts, read_layer
from isthmus.report.packages.model import Package

__all__ = ["ImagePackages", "LayerCache", "LayerFacts", "Package", "packages_of", "read_layer"]
