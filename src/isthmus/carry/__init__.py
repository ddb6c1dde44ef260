"""Ways across the gap that are not a disk in a hand: SSH, a one-way diode, paper."""
