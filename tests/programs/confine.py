"""confine.py MODE COMMAND...: becomes the command, in a confinement that is inherited.

`CALL=N`, with a call of CALLS: a seccomp filter by which it fails with errno N, or with `CALL=kill` is deadly; several may be
given, with commas. `landlock`: a domain of its own, whose only rule is that it makes no sockets. `mem`: of the process whose
pid is the last word, the memory is covered in `/proc`. `harmless`: a filter that kills what could change another process, or a file. What the kernel
does not have ends with status 77.
"""
import ctypes
import os
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
CALLS = {
    'x86_64': {'readv': 310, 'ptrace': 101, 'kcmp': 312, 'openat2': 437, 'pidfd': 434},
    'aarch64': {'readv': 270, 'ptrace': 117, 'kcmp': 272, 'openat2': 437, 'pidfd': 434},
}[os.uname()[4]]
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x80000000, 0x00050000, 0x7fff0000
LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
LANDLOCK_ACCESS_FS_MAKE_SOCK = 1 << 9
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18


def require(result):
    if result < 0:
        sys.stderr.write('confine: errno %d\n' % ctypes.get_errno())
        os._exit(77)
    return result


def deny(call, answer):
    """A filter in classic BPF: load the number of the call; if it is this one return the answer, else ALLOW."""
    verdict = SECCOMP_RET_KILL_PROCESS if answer == 'kill' else SECCOMP_RET_ERRNO | int(answer)
    program = struct.pack('=HBBI', 0x20, 0, 0, 0) + struct.pack('=HBBI', 0x15, 0, 1, call)
    program += struct.pack('=HBBI', 0x06, 0, 0, verdict) + struct.pack('=HBBI', 0x06, 0, 0, SECCOMP_RET_ALLOW)
    install(program)


def install(program):
    memory = ctypes.create_string_buffer(program, len(program))
    header = struct.pack('HxxxxxxP', len(program) // 8, ctypes.addressof(memory))
    require(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0))


def instruction(code, yes, no, value):
    return struct.pack('=HBBI', code, yes, no, value)


KILL, ALLOW = instruction(0x06, 0, 0, 0x80000000), instruction(0x06, 0, 0, 0x7fff0000)


def unless(call, checks):
    """Kills at this call unless `checks`, which jump over one instruction when all is well, say otherwise."""
    body = checks + KILL + ALLOW
    return instruction(0x15, 0, len(body) // 8, call) + body


def argument(index):
    return instruction(0x20, 0, 0, 16 + 8 * index)


def one_of(values):
    """Jumps over one instruction if what was loaded is one of the values."""
    left = range(len(values) - 1, -1, -1)
    return b''.join(instruction(0x15, rest + 1, 0, value) for rest, value in zip(left, values))


def harmless():
    """The requests by which a thread is stopped for a moment, and a system call of it begun again; files are only read."""
    detach, seize, interrupt, getregset, setregset = 17, 0x4206, 0x4207, 0x4204, 0x4205
    requests = [detach, seize, interrupt] + ([getregset, setregset] if os.uname()[4] == 'x86_64' else [])
    requests.append(0xffffffff)  # which is none: by it pyflame finds out whether the call itself is deadly
    # The calls that open a file, with the place of the flags among their arguments; and process_vm_writev, pwrite64,
    # pwritev, pwritev2, pidfd_getfd, process_madvise, creat, openat2, truncate, process_mrelease, io_uring_setup.
    opened, forbidden = {
        'x86_64': ([(257, 2), (2, 1)], [311, 18, 296, 328, 438, 440, 85, 437, 76, 448, 425]),
        'aarch64': ([(56, 2)], [271, 68, 70, 287, 438, 440, 437, 45, 448, 425]),
    }[os.uname()[4]]
    program = instruction(0x20, 0, 0, 0)
    program += unless(CALLS['ptrace'], argument(0) + one_of(requests))
    writes = instruction(0x54, 0, 0, 0o3 | 0o100 | 0o1000)  # O_ACCMODE, O_CREAT and O_TRUNC
    for call, flags in opened:
        program += unless(call, argument(flags) + writes + one_of([0]))
    program += b''.join(unless(call, b'') for call in forbidden) + ALLOW
    install(program)


def landlock():
    rules = struct.pack('Q', LANDLOCK_ACCESS_FS_MAKE_SOCK)
    ruleset = require(libc.syscall(LANDLOCK_CREATE_RULESET, rules, len(rules), 0))
    require(libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0))


def cover(pid):
    """Puts /dev/null in the place of /proc/PID/mem, for this process alone."""
    require(libc.unshare(CLONE_NEWNS))
    require(libc.mount(b'none', b'/', None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))
    place = ('/proc/%s/mem' % pid).encode()
    require(libc.mount(b'/dev/null', place, None, ctypes.c_ulong(MS_BIND), None))


def main(mode, command):
    require(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    for part in mode.split(','):
        call, _, answer = part.partition('=')
        if call == 'landlock':
            landlock()
        elif call == 'harmless':
            harmless()
        elif call == 'mem':
            cover(command[-1])
        else:
            deny(CALLS[call], answer)
    os.execv(command[0], command)


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2:])
