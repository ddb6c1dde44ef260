"""What is carried and is not an image: files, charts, git repositories, packages, and databases that age.

Fetched, verified and kept as OCI artifacts (decision 0005). Not here: serving them (`serve`), and images.
"""

from isthmus.content.artifact import make_chart, make_file, make_git, make_tree
from isthmus.content.things import Layer, Thing, things

__all__ = ["Layer", "Thing", "make_chart", "make_file", "make_git", "make_tree", "things"]
