"""Runs a test whose calls of the tested function are answered by the other interpreter, which has none of the descriptors of this one.
Descriptors: 3 the test, 4 replies, 5 requests, 6 what became of it."""

import builtins

REPLY_BYTES = 1 << 26


class Unfit(Exception):
    """The test cannot be run in this way, whatever the program."""


def tell(what, why=""):
    why = str(why)[:500].encode("utf-8", "replace").decode()
    message = [what, why]
    with open(6, "wb", closefd=False) as file:
        send(file, message)


def check():
    with open(3, "rb") as file:
        job = json.loads(file.read().decode())
    replies, requests = open(4, "rb"), open(5, "wb")

    def receive():
        line = replies.readline(REPLY_BYTES)
        if not line.endswith(b"\n"):
            raise EOFError("the program ended" if len(line) < REPLY_BYTES else "an answer is too long")
        message = json.loads(line)
        if message[0] == "raised":
            kind = getattr(builtins, str(message[1]), None)
            text = str(message[2])
            if isinstance(kind, type) and issubclass(kind, Exception):
                try:
                    error = kind(text)
                except Exception:
                    error = Exception("%s: %s" % (message[1], text))
                raise error
            raise Exception("%s: %s" % (message[1], text))
        return message

    def call(*positional, **named):
        packed = [pack(positional), pack(named)]
        if any(name != Opaque.__name__ for name in opaque(packed)):
            raise Unfit("an argument of %s is of no type that can be passed on" % job["entry"])
        send(requests, packed)
        return unpack(receive()[1])

    names = {}
    try:
        exec(compile(job["before"], "<prompt>", "exec"), names)
    except BaseException as error:
        tell("unfit", "its prompt is no program by itself: %s: %s" % (type(error).__name__, error))
        return
    try:
        ready = receive() == ["ready"]
    except BaseException:
        ready = False
    if not ready:
        tell("unready")
        return
    tell("begun")
    try:
        send(requests, job["entry"])
        receive()
        names[job["entry"]] = call
        exec(compile(job["after"], "<test>", "exec"), names)
    except Unfit as error:
        tell("unfit", str(error))
        return
    except BaseException as error:
        tell("failed", "%s: %s" % (type(error).__name__, error))
        return
    tell("passed")


def opaque(packed):
    """The names of what could not be packed."""
    if isinstance(packed, list):
        if packed and packed[0] == "opaque":
            yield packed[1]
        else:
            for part in packed:
                yield from opaque(part)


check()
