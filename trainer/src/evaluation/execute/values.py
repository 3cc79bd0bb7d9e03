"""Values between the two interpreters: lines of JSON in which a value is null, true, false or a list that begins with its kind."""

import json
import sys

# Nothing is imported from where a program can write.
sys.path[:] = [path for path in sys.path if path]


class Opaque:
    """What cannot cross: equal to nothing but itself."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return "<%s>" % self.name


VIEWS = tuple(type(view) for view in ({}.keys(), {}.values(), {}.items()))
SEQUENCES = [(list, "list"), (tuple, "tuple"), (set, "set"), (frozenset, "frozenset")]


def pack(value):
    """The value as JSON has it. What is derived from a plain type is packed as that type."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return ["int", hex(value)]
    if isinstance(value, float):
        return ["float", float.hex(value)]
    if isinstance(value, complex):
        return ["complex", float.hex(value.real), float.hex(value.imag)]
    if isinstance(value, str):
        return ["str", str.__str__(value)]
    if isinstance(value, (bytes, bytearray)):
        return [type(value).__name__, value.hex()]
    for kind, name in SEQUENCES:
        if isinstance(value, kind):
            return [name, [pack(part) for part in value]]
    if isinstance(value, dict):
        return ["dict", [[pack(key), pack(part)] for key, part in value.items()]]
    if isinstance(value, range):
        return ["range", [hex(value.start), hex(value.stop), hex(value.step)]]
    if isinstance(value, VIEWS) or hasattr(type(value), "__next__"):
        return ["iterator", [pack(part) for part in value]]
    for module, name in (("fractions", "Fraction"), ("decimal", "Decimal")):
        kind = getattr(sys.modules.get(module), name, ())
        if isinstance(value, kind):
            return [name, str(value)]
    return ["opaque", type(value).__name__]


def unpack(packed):
    """The value of what was packed; an exception where it is nothing of the kind."""
    if packed is None or packed is True or packed is False:
        return packed
    kind = packed[0]
    if kind == "int":
        return int(packed[1], 16)
    if kind == "float":
        return float.fromhex(packed[1])
    if kind == "complex":
        return complex(float.fromhex(packed[1]), float.fromhex(packed[2]))
    if kind == "str":
        return str(packed[1])
    if kind == "bytes":
        return bytes.fromhex(packed[1])
    if kind == "bytearray":
        return bytearray.fromhex(packed[1])
    for sequence, name in SEQUENCES:
        if kind == name:
            return sequence(unpack(part) for part in packed[1])
    if kind == "dict":
        return {unpack(key): unpack(part) for key, part in packed[1]}
    if kind == "range":
        return range(*(int(bound, 16) for bound in packed[1]))
    if kind == "iterator":
        return iter([unpack(part) for part in packed[1]])
    if kind == "Fraction":
        from fractions import Fraction

        return Fraction(packed[1])
    if kind == "Decimal":
        from decimal import Decimal

        return Decimal(packed[1])
    if kind == "opaque":
        return Opaque(str(packed[1])[:100])
    raise ValueError("a value of no known kind")


def send(file, message):
    file.write(json.dumps(message).encode() + b"\n")
    file.flush()
