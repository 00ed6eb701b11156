"""confine.py MODE COMMAND...: becomes the command, in a confinement that is inherited.

`readv=N`, `ptrace=N`, `pidfd=N`: a seccomp filter by which process_vm_readv, ptrace or pidfd_open fails with errno N; `landlock`: a domain of
its own, whose only rule is that it makes no sockets. What the kernel does not have ends with status 77.
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
    memory = ctypes.create_string_buffer(program, len(program))
    header = struct.pack('HxxxxxxP', len(program) // 8, ctypes.addressof(memory))
    require(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0))


def landlock():
    rules = struct.pack('Q', LANDLOCK_ACCESS_FS_MAKE_SOCK)
    ruleset = require(libc.syscall(LANDLOCK_CREATE_RULESET, rules, len(rules), 0))
    require(libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0))


def main(mode, command):
    require(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    kind, _, errno = mode.partition('=')
    if kind == 'landlock':
        landlock()
    else:
        deny(CALLS[os.uname()[4]][kind], int(errno))
    os.execv(command[0], command)


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2:])
