"""bundle.py DIRECTORY SECCOMP [KEY=VALUE]... -- COMMAND...: writes the config.json of a container into DIRECTORY.

Its root file system is DIRECTORY/rootfs. SECCOMP is a profile in the form of Docker and Podman.

    uid=N  caps=NAME,...  seccomp=default|old|kill  pid=PATH|host  users=N (host id of user 0)  proc=OPTION|host
    readonly=1  less=1 (nothing that needs a right on this machine)

Never any new privileges.
"""
import json
import os
import sys

# Docker's, which Podman and CRI-O trim.
CAPABILITIES = ('CHOWN,DAC_OVERRIDE,FOWNER,FSETID,KILL,NET_BIND_SERVICE,SETFCAP,SETGID,SETPCAP,SETUID,SYS_CHROOT')
READERS = ('ptrace', 'process_vm_readv')
OURS = {'amd64', 'x86_64'} if os.uname()[4] == 'x86_64' else {'arm64', 'aarch64'}


def seccomp(path, kind, caps):
    """The profile as runc takes it: rules that hold for these capabilities and this machine only are chosen here."""
    with open(path) as file:
        known = json.load(file)
    rules = []
    for rule in known['syscalls']:
        includes, excludes = rule.get('includes') or {}, rule.get('excludes') or {}
        if 'arches' in includes and not OURS & set(includes['arches']) or OURS & set(excludes.get('arches', [])):
            continue
        if not set(includes.get('caps', [])) <= set(caps) or set(excludes.get('caps', [])) & set(caps):
            continue
        names = [name for name in rule['names'] if kind == 'default' or name not in READERS]
        rule = {key: rule[key] for key in ('action', 'args', 'errnoRet') if rule.get(key)}
        if names:
            rules.append(dict(rule, names=names))
    if kind == 'old':  # Docker before 19.03: without the capability both are refused
        rules.append({'names': READERS, 'action': 'SCMP_ACT_ERRNO', 'errnoRet': 1})
    if kind == 'kill':
        rules.append({'names': READERS, 'action': 'SCMP_ACT_KILL_PROCESS'})
    return {'defaultAction': known['defaultAction'], 'defaultErrnoRet': known.get('defaultErrnoRet', 1),
            'architectures': ['SCMP_ARCH_' + os.uname()[4].upper()], 'syscalls': rules}


def linux(options, profile, caps):
    namespaces = [{'type': kind} for kind in ('mount', 'uts', 'ipc')]
    if 'less' not in options:
        namespaces.append({'type': 'network'})
    if options.get('pid') != 'host':
        namespaces.append({'type': 'pid', 'path': options['pid']} if 'pid' in options else {'type': 'pid'})
    made = {'namespaces': namespaces, 'maskedPaths': ['/proc/kcore', '/proc/keys', '/proc/timer_list'],
            'seccomp': seccomp(profile, options.get('seccomp', 'default'), caps)}
    if 'users' in options:
        namespaces.append({'type': 'user'})
        size = 1 if 'less' in options else 65536
        for kind in ('uidMappings', 'gidMappings'):
            made[kind] = [{'containerID': 0, 'hostID': int(options['users']), 'size': size}]
    return made


def config(options, command, profile):
    caps = ['CAP_' + cap for cap in options.get('caps', CAPABILITIES).split(',') if cap]
    uid = int(options.get('uid', 0))
    proc = {'destination': '/proc', 'type': 'proc', 'source': 'proc'}
    if options.get('proc') == 'host':
        proc = {'destination': '/proc', 'type': 'bind', 'source': '/proc', 'options': ['rbind']}
    elif 'proc' in options:
        proc['options'] = [options['proc']]
    return {
        'ociVersion': '1.0.2', 'hostname': 'c', 'linux': linux(options, profile, caps),
        'root': {'path': 'rootfs', 'readonly': 'readonly' in options},
        'process': {
            'args': command, 'cwd': '/', 'env': ['PATH=/usr/bin', 'PYTHONDONTWRITEBYTECODE=1'],
            'user': {'uid': uid, 'gid': uid}, 'noNewPrivileges': True,
            'capabilities': {kind: caps for kind in ['bounding'] + ['permitted', 'effective'] * (uid == 0)},
        },
        'mounts': [proc, {'destination': '/dev', 'type': 'tmpfs', 'source': 'tmpfs'}],
    }


def main(directory, profile, *words):
    cut = words.index('--')
    options = dict(word.split('=', 1) for word in words[:cut])
    with open(directory + '/config.json', 'w') as file:
        json.dump(config(options, words[cut + 1:], profile), file)


if __name__ == '__main__':
    main(*sys.argv[1:])
