

def open_layers():
    """The layers that do not hold, as a program meets them."""
    import os
    import signal
    import socket

    def works(action):
        try:
            action()
        except OSError:
            return False
        return True

    attempts = [
        ("root", lambda: open("/written", "w")),
        ("accounts", lambda: open("/etc/passwd")),
        ("processes", lambda: os.listdir("/proc")),
        ("devices", lambda: os.listdir("/sys")),
        ("network", socket.socket),
        ("user", lambda: os.setuid(0)),
    ]
    attempts += [("descriptor %d" % fd, lambda fd=fd: os.fstat(fd)) for fd in range(6, 64)]
    held = [name for name, attempt in attempts if works(attempt)]
    if os.getppid() != 1 or os.getpid() > 9:
        held.append("process namespace")
    made = 0
    while made < 100:
        try:
            child = os.fork()
        except OSError:
            break
        if child == 0:
            # It ends with its namespace.
            while True:
                signal.pause()
        made += 1
    else:
        held.append("limit of processes")
    try:
        if bytearray(1 << 31):
            held.append("limit of memory")
    except MemoryError:
        pass
    if set(os.environ) - {"LANG", "LC_CTYPE", "PYTHONHASHSEED"}:
        held.append("environment")
    if not works(lambda: open("written", "w").close()):
        held.append("a folder to write in")
    return held
