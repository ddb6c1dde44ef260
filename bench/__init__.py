"""Benchmarks: what Isthmus costs in time, CPU, memory and disk, beside other tools on the same content.

Run `make bench` or `python -m bench`. Not part of the product; nothing in it is imported by the product.
"""
