"""What the tables of odd data and options find and is not mended yet.

A pair that is mended and still here fails its table: the lists only get shorter.
"""

INPUTS = {}
OPTIONS = {}
