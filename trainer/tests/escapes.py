"""Attempts of programs to get out of where programs of tasks are run. Each begins with a line: its name, what becomes of it (blocked:
killed for a system call; failed; late: its time is up), and whether it is made by a plain interpreter too, where it must succeed (alone:
it returns "escaped" or leaves a trace; forges: its test, in the same process, ends well although the answer is wrong; no: it would harm the
machine, or takes powers that not every user has). A processor stands last where there is one kind alone that can run it."""

# The network.

#: a connection | failed | alone
def attempt():
    socket.create_connection(("127.0.0.1", PORT), timeout=2)
    return "escaped"

#: a datagram | failed | alone
def attempt():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", UDP))

#: a request by HTTP | failed | alone
def attempt():
    import urllib.request
    urllib.request.urlopen("http://127.0.0.1:%d/" % PORT, timeout=1)

#: a socket in a folder | failed | alone
def attempt():
    socket.socket(socket.AF_UNIX).connect(UNIX)

#: a socket with a name in no folder | failed | alone
def attempt():
    socket.socket(socket.AF_UNIX).connect("\0" + MARK)

#: a server | failed | alone
def attempt():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    return "escaped"

#: a socket by its number | failed | alone
def attempt():
    return call("socket", 2, 1, 0)

#: a pair of sockets | failed | alone
def attempt():
    socket.socketpair()
    return "escaped"

#: talk with the kernel's network | failed | alone
def attempt():
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    return "escaped"

# Files.

#: a file of a home | failed | alone
def attempt():
    return open(FILE).read() and "escaped"

#: a list of a home | failed | alone
def attempt():
    return "escaped" if "file" in os.listdir(HOME) else None

#: a file outside | failed | alone
def attempt():
    open(OUTSIDE, "w").write("x")

#: the accounts | failed | alone
def attempt():
    return open("/etc/passwd").read() and "escaped"

#: up from the working folder | failed | alone
def attempt():
    return open("../" * 30 + FILE[1:]).read() and "escaped"

#: a symbolic link out of the folder | failed | alone
def attempt():
    os.symlink(FILE, "link")
    return open("link").read() and "escaped"

#: a symbolic link to write through | failed | alone
def attempt():
    os.symlink(OUTSIDE, "link")
    open("link", "w").write("x")

#: a hard link out of the folder | failed | alone
def attempt():
    os.link(FILE, "hard")
    return open("hard").read() and "escaped"

#: its own root through /proc | failed | alone
def attempt():
    return open("/proc/self/root" + FILE).read() and "escaped"

#: its own memory through /proc | failed | alone
def attempt():
    open("/proc/self/mem", "r+b")
    return "escaped"

#: other processes through /proc | failed | alone
def attempt():
    return "escaped" if str(VICTIM) in os.listdir("/proc") else None

#: another's root through /proc | failed | no
def attempt():
    return os.listdir("/proc/1/root") and "escaped"

#: settings of the kernel | failed | no
def attempt():
    open("/proc/sys/kernel/core_pattern", "w")
    return "escaped"

#: the kernel's tree of devices | failed | alone
def attempt():
    return os.listdir("/sys") and "escaped"

#: control groups | failed | alone
def attempt():
    return os.listdir("/sys/fs/cgroup") and "escaped"

#: a byte of the interpreter's library | failed | no
def attempt():
    os.open(os.__file__, os.O_WRONLY)
    return "escaped"

#: the rights of the interpreter's library | failed | no
def attempt():
    os.chmod(os.__file__, 0o666)
    return "escaped"

#: the root | failed | no
def attempt():
    open("/" + MARK, "w")
    return "escaped"

#: other devices | failed | alone
def attempt():
    more = set(os.listdir("/dev")) - {"null", "zero", "urandom"}
    return "escaped" if more else None

#: a device of its own | failed | no
def attempt():
    import stat
    os.mknod("disk", stat.S_IFBLK | 0o600, os.makedev(254, 0))
    return "escaped"

#: what fills the disk | failed | no
def attempt():
    total = 0
    try:
        for number in range(1000):
            with open("file%d" % number, "wb") as file:
                total += file.write(bytes(1 << 20))
    except OSError:
        pass
    return "escaped" if total > 32 << 20 else None

#: a long file | failed | alone
def attempt():
    with open("long", "wb") as file:
        for _ in range(9):
            file.write(bytes(1 << 20))
    return "escaped"

#: a file with a hole | failed | alone
def attempt():
    with open("hole", "wb") as file:
        file.truncate(1 << 34)
    return "escaped"

#: many files | failed | alone
def attempt():
    for number in range(3000):
        open("f%d" % number, "w").close()
    return "escaped"

#: files that are nowhere | failed | alone
def attempt():
    os.memfd_create("hidden")
    return "escaped"

#: memory of nobody's | failed | alone
def attempt():
    return call("shmget", 0, 4096, 0o1600)

#: a script of its own | failed | alone
def attempt():
    import subprocess
    with open("own", "w") as file:
        file.write('#!%s\n' % sys.executable)
    os.chmod("own", 0o755)
    return "escaped" if subprocess.call([os.path.abspath("own")]) == 0 else None

#: a library of its own | failed | alone
def attempt():
    import shutil, _ctypes
    shutil.copy(_ctypes.__file__, "own.so")
    ctypes.CDLL(os.path.abspath("own.so"))
    return "escaped"

#: a shell | failed | alone
def attempt():
    os.system("echo x > '%s'" % OUTSIDE)

#: another program | failed | alone
def attempt():
    import subprocess
    return subprocess.check_output(["cat", FILE]) and "escaped"

# Roots and mounts.

#: another root | blocked | no
def attempt():
    os.chroot("/tmp")
    return "escaped"

#: a root in exchange | blocked | no
def attempt():
    return call("pivot_root", b"/tmp", b"/tmp")

#: a file system | blocked | no
def attempt():
    return call("mount", b"none", b"/tmp", b"tmpfs", 0, None)

#: the library, to be written to | blocked | no
def attempt():
    return call("mount", None, b"/usr/lib", None, 32 | 4096, None)

#: what is below a mount | blocked | no
def attempt():
    return call("umount2", b"/usr/lib", 2)

#: a mount by the new calls | blocked | no
def attempt():
    return call("fsopen", b"tmpfs", 0)

#: a tree of mounts | blocked | no
def attempt():
    return call("open_tree", -100, b"/", 1)

#: a file by its handle | blocked | no
def attempt():
    return call("open_by_handle_at", 3, None, 0)

#: the handle of a file | blocked | no
def attempt():
    return call("name_to_handle_at", -100, b"/", None, None, 0)

# Namespaces and users.

#: a namespace of users | blocked | no
def attempt():
    return call("unshare", 0x10000000)

#: a namespace of mounts | blocked | no
def attempt():
    return call("unshare", 0x20000)

#: somebody's namespace | blocked | no
def attempt():
    return call("setns", 0, 0)

#: a process in its own namespaces | blocked | no
def attempt():
    call("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
    return "escaped"

#: the same, by the new call | failed | no
def attempt():
    arguments = (ctypes.c_uint64 * 8)(0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    if c.syscall(ctypes.c_long(NR["clone3"]), arguments, ctypes.c_long(64)) == -1:
        raise OSError(ctypes.get_errno(), "clone3")
    return "escaped"

#: root | failed | no
def attempt():
    os.setresuid(0, 0, 0)
    return "escaped"

#: a group | failed | no
def attempt():
    os.setgroups([0])
    return "escaped"

#: a program that makes root of users | failed | no
def attempt():
    import subprocess
    for path in ("/bin/su", "/usr/bin/su", "/usr/bin/sudo", "/usr/bin/newuidmap", "/usr/bin/passwd"):
        try:
            subprocess.call([path, "--help"])
            return "escaped"
        except OSError:
            pass

#: a file that makes another of who runs it | failed | no
def attempt():
    with open("own", "w") as file:
        file.write('#!%s\n' % sys.executable)
    os.chown("own", 0, 0)
    os.chmod("own", 0o6755)
    return "escaped"

#: powers | failed | no
def attempt():
    if c.prctl(47, 2, 21, 0, 0) == -1:
        raise OSError(ctypes.get_errno(), "PR_CAP_AMBIENT_RAISE")
    return "escaped"

#: another host name | blocked | no
def attempt():
    socket.sethostname("escaped")
    return "escaped"

# Other processes.

#: the end of another process | failed | alone
def attempt():
    os.kill(VICTIM, signal.SIGKILL)

#: the end of a thread | failed | alone
def attempt():
    call("tgkill", VICTIM, VICTIM, 9)

#: another process by a descriptor | failed | alone
def attempt():
    os.pidfd_open(VICTIM)
    return "escaped"

#: the end of its parent | failed | no
def attempt():
    parent = os.getppid()
    os.kill(parent, signal.SIGKILL)
    os.kill(parent, signal.SIGTERM)
    time.sleep(0.1)
    return "escaped" if os.getppid() != parent else None

#: the end of all | failed | no
def attempt():
    os.kill(-1, signal.SIGKILL)
    time.sleep(0.2)
    return "escaped"

#: another process under its eyes | blocked | no
def attempt():
    return call("ptrace", 16, VICTIM, 0, 0)

#: its parent under its eyes | blocked | no
def attempt():
    return call("ptrace", 16, 1, 0, 0)

#: to be under somebody's eyes | blocked | no
def attempt():
    return call("ptrace", 0, 0, 0, 0)

#: another process's memory | blocked | no
def attempt():
    return call("process_vm_readv", 2, None, 0, None, 0, 0)

#: to write to another process's memory | blocked | no
def attempt():
    return call("process_vm_writev", 2, None, 0, None, 0, 0)

#: another process's descriptor | blocked | no
def attempt():
    return call("pidfd_getfd", 0, 0, 0)

#: inherited descriptors | failed | alone
def attempt():
    for descriptor in range(3, 1024):
        try:
            if os.pread(descriptor, 100, 0).startswith(b"of the home"):
                return "escaped"
        except OSError:
            pass

#: the environment | failed | alone
def attempt():
    return "escaped" if "PATH" in os.environ else None

#: what is typed at a terminal | failed | no
def attempt():
    import fcntl
    fcntl.ioctl(0, 0x5412, b"x")
    return "escaped"

# Time and the machine's own.

#: an endless loop | late | no
def attempt():
    while True:
        pass

#: an endless sleep | late | no
def attempt():
    time.sleep(1e6)

#: deaf to signals | late | no
def attempt():
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    while True:
        time.sleep(1)

#: stopped | late | no
def attempt():
    os.kill(os.getpid(), signal.SIGSTOP)

#: a loop in a call of C | late | no
def attempt():
    return 3 ** (10 ** 9)

#: an endless import | late | no
while True:
    pass

#: a process that stays | failed | alone
def attempt():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for descriptor in range(16):
                try:
                    os.close(descriptor)
                except OSError:
                    pass
            time.sleep(1e6)
        os._exit(0)
    time.sleep(0.2)

#: a fork bomb | late | no
def attempt():
    while True:
        try:
            os.fork()
        except OSError:
            pass

#: a fork bomb that leaves | failed | no
def attempt():
    made = 0
    for _ in range(100):
        try:
            if os.fork() == 0:
                os.setsid()
                time.sleep(1e6)
            made += 1
        except OSError:
            pass
    return "escaped" if made > 12 else None

#: many threads | failed | alone
def attempt():
    import threading
    threads = [threading.Thread(target=time.sleep, args=(0.5,)) for _ in range(100)]
    for thread in threads:
        thread.start()
    return "escaped"

#: much memory | failed | alone
def attempt():
    return bytearray(1 << 30) and "escaped"

#: much memory, bit by bit | failed | no
def attempt():
    held = []
    while len(held) < 1 << 10:
        held.append(bytearray(1 << 24))
    return "escaped"

#: higher limits | failed | no
def attempt():
    import resource
    resource.setrlimit(resource.RLIMIT_NPROC, (10000, 10000))
    return "escaped"

#: lower limits for others | failed | no
def attempt():
    import resource
    for pid in (1, 2):
        try:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, 0))
        except OSError:
            pass

#: a turn before others | failed | no
def attempt():
    os.nice(-5)
    return "escaped"

#: a flood of output | late | no
def attempt():
    while True:
        os.write(1, bytes(1 << 16))
        os.write(2, bytes(1 << 16))

# The kernel.

#: io_uring | blocked | no
def attempt():
    return call("io_uring_setup", 1, (ctypes.c_char * 256)())

#: a program in the kernel | blocked | no
def attempt():
    return call("bpf", 0, None, 0)

#: counters of the processor | blocked | no
def attempt():
    return call("perf_event_open", None, 0, -1, -1, 0)

#: faults of pages | blocked | no
def attempt():
    return call("userfaultfd", 1)

#: the kernel's keys | blocked | no
def attempt():
    return call("keyctl", 0, -3, 0)

#: a key | blocked | no
def attempt():
    return call("add_key", b"user", b"x", b"x", 1, -3)

#: a module | blocked | no
def attempt():
    return call("init_module", None, 0, b"")

#: a module out of a file | blocked | no
def attempt():
    return call("finit_module", 0, b"", 0)

#: another kernel | blocked | no
def attempt():
    return call("kexec_load", 0, 0, None, 0)

#: a restart | blocked | no
def attempt():
    return call("reboot", 0, 0, 0, None)

#: swap | blocked | no
def attempt():
    return call("swapon", b"swap", 0)

#: quotas | blocked | no
def attempt():
    return call("quotactl", 0, None, 0, None)

#: the clock | blocked | no
def attempt():
    time.clock_settime(time.CLOCK_REALTIME, 0)
    return "escaped"

#: the time | blocked | no
def attempt():
    return call("settimeofday", None, None)

#: the kernel's log | blocked | no
def attempt():
    return call("syslog", 3, (ctypes.c_char * 100)(), 100)

#: another personality | failed | alone
def attempt():
    return call("personality", 0xFFFFFFFF)

#: a call of no number | failed | no
def attempt():
    return call("none", 0)

#: calls of the second table | blocked | no | x86_64
def attempt():
    c.syscall(ctypes.c_long(0x40000000 | 39))
    return "escaped"

#: calls of 32 bits | blocked | no | x86_64
def attempt():
    import mmap
    memory = mmap.mmap(-1, 4096, prot=7)
    memory.write(bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]))
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    return "escaped"

# Verdicts.

#: an end at once | failed | forges
def attempt():
    os._exit(0)

#: an end before its test | failed | forges
os._exit(0)

#: an exit | failed | forges
def attempt():
    sys.exit(0)

#: an exit while it is read | failed | forges
sys.exit(0)

#: an exit at the end | failed | forges
import atexit
atexit.register(os._exit, 0)
def attempt():
    return 0

#: another program in its place | failed | forges
def attempt():
    os.execv(sys.executable, [sys.executable, "-c", "pass"])

#: what equals everything | failed | forges
class Equal:
    def __eq__(self, other):
        return True
def attempt():
    return Equal()

#: a number that equals everything | failed | forges
class Equal(int):
    def __eq__(self, other):
        return True
def attempt():
    return Equal(1)

#: its caller's names | failed | forges
def attempt():
    frame = sys._getframe()
    while frame:
        if "ANSWER" in frame.f_globals:
            return frame.f_globals["ANSWER"]
        frame = frame.f_back

#: all objects | failed | forges
def attempt():
    import gc
    for held in gc.get_objects():
        if isinstance(held, dict) and type(held.get("ANSWER")) is int:
            return held["ANSWER"]

#: the text of its test | failed | forges
def attempt():
    import gc, re
    texts = [held for held in gc.get_referents(*gc.get_objects()) if isinstance(held, str)]
    texts += sys.argv
    for descriptor in range(64):
        try:
            texts.append(os.pread(descriptor, 1 << 16, 0).decode())
        except (OSError, UnicodeDecodeError):
            pass
    try:
        texts.append(open("/proc/self/cmdline").read())
    except OSError:
        pass
    for text in texts:
        found = re.search("ANSWER" + " = ([0-9]+)", text)
        if found:
            return int(found.group(1))

#: a test that is another | failed | no
import builtins
def attempt():
    frame = sys._getframe()
    while frame:
        frame.f_globals.update(check=lambda *_: None, exec=lambda *_: None, tell=None, ANSWER=0)
        frame = frame.f_back
    builtins.AssertionError = builtins.ZeroDivisionError
    builtins.exec = builtins.compile = builtins.isinstance = lambda *_: True
    return 0

#: the verdict on stdout | failed | no
def attempt():
    print('["passed", ""]', flush=True)
    print('{"ended": {"outcome": "passed"}}', flush=True)
    os._exit(0)

#: the verdict on all descriptors | failed | no
def attempt():
    for descriptor in range(64):
        try:
            os.write(descriptor, b'["passed", ""]\n')
        except OSError:
            pass
    os._exit(0)

#: the end of its test's process | failed | no
def attempt():
    for pid in range(2, 20):
        if pid != os.getpid():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
    os._exit(0)

#: an interrupt for its test | failed | no
def attempt():
    os.kill(2, signal.SIGINT)
    time.sleep(0.2)
    return 0

#: an answer that is an exit | failed | no
os.write(5, b'["raised", "SystemExit", "0"]\n')
def attempt():
    os.write(5, b'["raised", "GeneratorExit", ""]\n')
    os._exit(0)

#: an answer without an end | failed | no
def attempt():
    while True:
        os.write(5, b"[" * 65536)

#: an answer that goes deep | failed | no
def attempt():
    os.write(5, b"[" * 60000 + b"]" * 60000 + b"\n")
    time.sleep(0.3)

#: an answer that is long to work out | late | no
def attempt():
    os.write(5, b'["done", ["Fraction", "1e999999999"]]\n')
    time.sleep(9)

#: an answer of no kind | failed | no
def attempt():
    os.write(5, b'["done", ["eval", "ANSWER"]]\n')
    time.sleep(0.3)

#: a module for its test to import | failed | no
for name in ("fractions", "decimal", "numbers", "re", "json"):
    with open("/tmp/%s.py" % name, "w") as file:
        file.write("import os\nos.write(6, b'[\"passed\", \"\"]\\n')\nos._exit(0)\n")
def attempt():
    os.write(5, b'["done", ["Fraction", "1/2"]]\n')
    time.sleep(0.3)
