"""Makes a wheel of the package with the two programs in it: `python3 wheel.py PROGRAMS OUT`.

PROGRAMS is the folder with `andromeda` and `andromeda-train`. A wheel is a zip archive (packaging.python.org, "Binary distribution
format"): modules at the top, programs under `<name>.data/scripts`, which an installer puts beside its python, and a list of all files
with their hashes. The same input gives the same bytes.
"""

import base64
import hashlib
import os
import re
import struct
import subprocess
import sys
import sysconfig
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = ("andromeda", "andromeda-train")
MACHINES = {62: "x86_64", 183: "aarch64"}


def project():
    with open(os.path.join(HERE, "pyproject.toml"), encoding="utf-8") as file:
        text = file.read()

    def value(key):
        return re.search(rf'^{key} = "([^"]*)"$', text, re.M).group(1)

    dependencies = re.findall(r'"([^"]+)"', re.search(r"^dependencies = \[(.*)\]$", text, re.M).group(1))
    return value("name"), value("version"), value("description"), value("requires-python"), dependencies


def platform(programs):
    """The platform that these programs run on, as a wheel's name says it: by the newest glibc that any of them needs."""
    newest, machine = (2, 5), None
    for data in programs.values():
        if data[:4] != b"\x7fELF" or data[4] != 2 or data[5] != 1:
            return re.sub(r"[-.]", "_", sysconfig.get_platform())
        machine = MACHINES[struct.unpack_from("<H", data, 18)[0]]
        needs = re.findall(rb"\0GLIBC_(\d+)\.(\d+)(?:\.\d+)?(?=\0)", data)
        if not needs:
            return f"musllinux_1_1_{machine}.manylinux_2_5_{machine}"
        newest = max([newest] + [(int(major), int(minor)) for major, minor in needs])
    return f"manylinux_{newest[0]}_{newest[1]}_{machine}"


def main():
    folder, out = sys.argv[1:]
    name, version, summary, python, dependencies = project()
    programs = {}
    for program in PROGRAMS:
        path = os.path.join(folder, program)
        said = subprocess.check_output([path, "--version"], text=True).strip()
        if said != f"{program} {version}":
            sys.exit(f"{path} says it is {said!r}; the package is {version}")
        with open(path, "rb") as file:
            programs[program] = file.read()
    tag = f"py3-none-{platform(programs)}"
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    with open(os.path.join(HERE, "README.md"), encoding="utf-8") as file:
        readme = file.read()
    metadata = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        f"Summary: {summary}",
        "License: Apache-2.0",
        f"Requires-Python: {python}",
        *(f"Requires-Dist: {dependency}" for dependency in dependencies),
        "Provides-Extra: torch",
        'Requires-Dist: torch ; extra == "torch"',
        "Description-Content-Type: text/markdown",
        "",
        readme,
    ]
    tags = [f"Tag: py3-none-{one}" for one in tag.split("-", 2)[2].split(".")]
    wheel = ["Wheel-Version: 1.0", "Generator: andromeda", "Root-Is-Purelib: false", *tags, ""]
    files = {}
    package = os.path.join(HERE, "src", "andromeda_shards")
    for module in sorted(os.listdir(package)):
        if module.endswith(".py") or module == "py.typed":
            with open(os.path.join(package, module), "rb") as file:
                files[f"andromeda_shards/{module}"] = file.read()
    for program, data in programs.items():
        files[f"{stem}.data/scripts/{program}"] = data
    with open(os.path.join(HERE, "..", "LICENSE"), "rb") as file:
        files[f"{info}/LICENSE"] = file.read()
    files[f"{info}/METADATA"] = "\n".join(metadata).encode()
    files[f"{info}/WHEEL"] = "\n".join(wheel).encode()
    record = []
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(data)}\n")
    files[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"]).encode()
    os.makedirs(out, exist_ok=True)
    target = os.path.join(out, f"{stem}-{tag}.whl")
    aside = target + ".part"
    with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if ".data/scripts/" in path else 0o644) << 16 | 0o100000 << 16
            archive.writestr(entry, data)
    os.replace(aside, target)
    print(target)


if __name__ == "__main__":
    main()
