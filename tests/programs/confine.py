"""confine.py MODE COMMAND...: becomes the command, in a confinement that is inherited.

`readv=N`, `ptrace=N`, `pidfd=N`: a seccomp filter by which process_vm_readv, ptrace or pidfd_open fails with errno N;
`landlock`: a domain of its own, whose only rule is that it makes no sockets; `harmless`: a filter that kills what could change
another process, or a file. What the kernel does not have ends with status 77.
"""
import ctypes
import os
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
CALLS = {'x86_64': {'readv': 310, 'ptrace': 101, 'pidfd': 434}, 'aarch64': {'readv': 270, 'ptrace': 117, 'pidfd': 434}}
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
LANDLOCK_ACCESS_FS_MAKE_SOCK = 1 << 9


def require(result):
    if result < 0:
        sys.stderr.write('confine: errno %d\n' % ctypes.get_errno())
        os._exit(77)
    return result


def deny(call, errno):
    """A filter in classic BPF: load the number of the call; if it is this one return ERRNO, else ALLOW."""
    program = struct.pack('=HBBI', 0x20, 0, 0, 0) + struct.pack('=HBBI', 0x15, 0, 1, call)
    program += struct.pack('=HBBI', 0x06, 0, 0, 0x00050000 | errno) + struct.pack('=HBBI', 0x06, 0, 0, 0x7fff0000)
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
    # The calls that open a file, with the place of the flags among their arguments; and process_vm_writev, pwrite64,
    # pwritev, pwritev2, pidfd_getfd, process_madvise, creat, openat2, truncate, process_mrelease, io_uring_setup.
    opened, forbidden = {
        'x86_64': ([(257, 2), (2, 1)], [311, 18, 296, 328, 438, 440, 85, 437, 76, 448, 425]),
        'aarch64': ([(56, 2)], [271, 68, 70, 287, 438, 440, 437, 45, 448, 425]),
    }[os.uname()[4]]
    program = instruction(0x20, 0, 0, 0)
    program += unless(CALLS[os.uname()[4]]['ptrace'], argument(0) + one_of(requests))
    writes = instruction(0x54, 0, 0, 0o3 | 0o100 | 0o1000)  # O_ACCMODE, O_CREAT and O_TRUNC
    for call, flags in opened:
        program += unless(call, argument(flags) + writes + one_of([0]))
    program += b''.join(unless(call, b'') for call in forbidden) + ALLOW
    install(program)


def landlock():
    rules = struct.pack('Q', LANDLOCK_ACCESS_FS_MAKE_SOCK)
    ruleset = require(libc.syscall(LANDLOCK_CREATE_RULESET, rules, len(rules), 0))
    require(libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0))


def main(mode, command):
    require(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    kind, _, errno = mode.partition('=')
    if kind == 'landlock':
        landlock()
    elif kind == 'harmless':
        harmless()
    else:
        deny(CALLS[os.uname()[4]][kind], int(errno))
    os.execv(command[0], command)


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2:])
