"""Name servers that answer for the site's names alone: records once, written for several programs."""
