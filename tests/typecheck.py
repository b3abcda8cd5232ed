"""The checker of shapes and types in the test run: beartype, with integers accepted where floats are asked for."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
