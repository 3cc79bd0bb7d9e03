"""Runs a program and calls what it defines, as the other interpreter asks. Descriptors: 3 the program, 4 requests, 5 replies."""


def serve():
    with open(3, "rb") as file:
        source = file.read().decode()
    requests, replies = open(4, "rb"), open(5, "wb")
    send(replies, ["ready"])
    entry = json.loads(requests.readline())
    names = {}

    def raised(error):
        return ["raised", type(error).__name__, str(error)[:500]]

    try:
        exec(compile(source, "<program>", "exec"), names)
        reply = ["done", None]
    except BaseException as error:
        reply = raised(error)
    send(replies, reply)
    for line in requests:
        positional, named = (unpack(packed) for packed in json.loads(line))
        try:
            reply = ["done", pack(names[entry](*positional, **named))]
        except BaseException as error:
            reply = raised(error)
        send(replies, reply)


serve()
