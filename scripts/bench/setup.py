"""What is there to be compared: interpreters, the other profilers, the machine."""
import glob
import os
import platform
import re
import subprocess
import sys
import time
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ.get("PYFLAME_BENCH") or os.path.expanduser("~/.cache/pyflame/bench")


STARTED = time.monotonic()


def say(text):
    print("bench: %4.0f s: %s" % (time.monotonic() - STARTED, text), file=sys.stderr, flush=True)


def quietly(command, timeout=600):
    """Whether a command succeeds."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=timeout).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def output(command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True).stdout


# ---- interpreters ----------------------------------------------------------------------------

def interpreters():
    """(label, path) of those that are here."""
    script = os.path.join(HERE, "..", "pythons")
    rows = []
    if os.access(script, os.X_OK):
        listed = subprocess.run([script, "--list"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, universal_newlines=True).stdout
        for line in listed.splitlines():
            fields = line.split("\t")
            if len(fields) == 4 and fields[3] == "-":
                rows.append((fields[0], fields[1]))
    pyenv = os.path.join(os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv")), "versions", "*", "bin", "python")
    for path in sorted(glob.glob(pyenv)):
        rows.append((path.split(os.sep)[-3], os.path.realpath(path)))
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        for path in sorted(glob.glob(os.path.join(directory, "python[23].*"))):
            if re.search(r"/python[23]\.\d+$", path) and "shims" not in path:
                rows.append((os.path.basename(path)[6:], path))
    return rows


def find_interpreter(wanted, rows):
    """(label, path, (major, minor)) of the one that is asked for by version, label or path; or None."""
    if os.sep in wanted:
        rows = [(wanted, wanted)]
    fitting = [row for row in rows if row[0] == wanted] + \
              [row for row in rows if re.match(re.escape(wanted) + r"(\.\d+)?$", row[0])] + \
              ([rows[0]] if os.sep in wanted else [])
    for label, path in fitting:
        said = output([path, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]).split()
        if said and re.match(r"\d+\.\d+\.\d+$", said[-1]):
            return said[-1], path, tuple(int(n) for n in said[-1].split(".")[:2])
    return None


# ---- the other profilers -----------------------------------------------------------------------

def install():
    """Paths of py-spy and austin by name, of those that could be had."""
    venv = os.path.join(CACHE, "venv")
    found = {}
    for name, package in (("py-spy", "py-spy"), ("austin", "austin-dist")):
        path = os.path.join(venv, "bin", name)
        if not os.path.exists(path):
            say("installing %s into %s" % (package, venv))
            pip_install(venv, package)
        if quietly([path, "--version"], 30):
            found[name] = path
        elif name == "austin" and os.path.exists(path):
            path = musl_austin(venv)
            if path:
                found[name] = path
        if name not in found:
            say("%s cannot be installed or does not run here: going without" % name)
    return found


def pip_of(venv):
    own = os.path.join(venv, "bin", "python")
    return [own if os.path.exists(own) else sys.executable, "-m", "pip", "--disable-pip-version-check"]


def pip_install(venv, package):
    os.makedirs(CACHE, exist_ok=True)
    if not os.path.exists(os.path.join(venv, "bin", "pip")) and not quietly([sys.executable, "-m", "venv", venv]):
        # Without ensurepip there can still be a pip.
        return quietly(pip_of(venv) + ["install", "--target", venv, "--no-deps", package])
    return quietly(pip_of(venv) + ["install", package])


def musl_austin(venv):
    """The austin that is linked with musl, for hosts whose glibc is older than the other one wants."""
    directory = os.path.join(CACHE, "austin-musl")
    path = os.path.join(directory, "austin")
    machine = platform.machine()
    if not os.path.exists(path):
        say("austin wants a newer glibc than this host has: taking the one for musl")
        quietly(pip_of(venv) + ["download", "--no-deps", "--only-binary=:all:", "--platform",
                                "musllinux_1_1_" + machine, "-d", directory, "austin-dist"])
        for wheel in glob.glob(os.path.join(directory, "*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.namelist():
                    if member.endswith("/scripts/austin"):
                        with open(path, "wb") as file:
                            file.write(archive.read(member))
                        os.chmod(path, 0o755)
    loader = "/lib/ld-musl-%s.so.1" % machine
    if os.path.exists(path) and not os.path.exists(loader) and os.geteuid() == 0:
        say("installing musl, which it needs")
        quietly(["apt-get", "-qq", "install", "--no-install-recommends", "-y", "musl"])
    return path if quietly([path, "--version"], 30) else None


# ---- the machine -------------------------------------------------------------------------------

def machine():
    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    with open("/etc/os-release") as file:
        system = re.search(r'PRETTY_NAME="?([^"\n]*)', file.read())
    return {"processor": model.group(1) if model else platform.machine(), "processors": os.cpu_count(),
            "kernel": platform.release(), "system": system.group(1) if system else "",
            "hypervisor": os.path.exists("/sys/hypervisor") or "hypervisor" in open("/proc/cpuinfo").read()}


def processors():
    """One processor for the profiler and one for the target; the same where there is but one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]
