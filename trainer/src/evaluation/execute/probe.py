"""What this interpreter is, and what it reads."""

import json
import os
import sys
import sysconfig

paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
with open("/proc/self/maps") as maps:
    for line in maps:
        path = line.rstrip("\n").split(None, 5)[5:]
        if path and ".so" in os.path.basename(path[0]) and os.path.isfile(path[0]):
            paths.append(path[0])
executable = os.path.realpath(sys.executable)
if executable.startswith("/nix/store/"):
    paths.append("/nix/store")
assert sys.version_info[0] == 3
version = "%d.%d.%d" % sys.version_info[:3]
print(json.dumps({"executable": executable, "version": version, "paths": sorted(set(paths))}))
