"""children.py READY KIND LIFE [PYTHON]: two workers, `alpha` and `beta`, that compute all the time, each in a function of its name.

KIND is how they are started: `fork`, `forkserver`, `spawn` (of multiprocessing), `prefork` (os.fork), `subprocess`,
`shell` (a shell that does not exec between), `other` (alpha by another PYTHON). Or `brief`: one worker after the other,
30 ms each. READY.alpha and READY.beta hold their pids and are there before READY. Ends after LIFE seconds with status 7.
"""
import os
import subprocess
import sys
import time

import report


def busy_alpha(path, end):
    report.write(path, [str(os.getpid())])
    while time.time() < end and os.path.exists(path):
        for _ in range(20000):
            pass


def busy_beta(path, end):
    report.write(path, [str(os.getpid())])
    while time.time() < end and os.path.exists(path):
        for _ in range(20000):
            pass


def busy_brief(end):
    while time.time() < end:
        for _ in range(1000):
            pass


WORKERS = {'alpha': busy_alpha, 'beta': busy_beta}


def by_multiprocessing(kind, path, end):
    import multiprocessing
    if hasattr(multiprocessing, 'set_start_method'):
        if kind not in multiprocessing.get_all_start_methods():
            return None
        multiprocessing.set_start_method(kind)
    elif kind != 'fork':
        return None
    workers = [multiprocessing.Process(target=WORKERS[name], args=('%s.%s' % (path, name), end)) for name in WORKERS]
    for worker in workers:
        worker.start()
    return lambda: [worker.join() for worker in workers]


def by_fork(path, end):
    pids = []
    for name in WORKERS:
        pid = os.fork()
        if pid == 0:
            try:
                WORKERS[name]('%s.%s' % (path, name), end)
            finally:
                os._exit(0)
        pids.append(pid)
    return lambda: [os.waitpid(pid, 0) for pid in pids]


def by_command(kind, path, end, other):
    commands = []
    for name in WORKERS:
        python = other if kind == 'other' and name == 'alpha' else sys.executable
        command = [python, __file__, '%s.%s' % (path, name), 'worker', str(end - time.time()), name]
        if kind == 'shell':
            command = ['sh', '-c', ' '.join(command) + '; true']
        commands.append(subprocess.Popen(command))
    return lambda: [command.wait() for command in commands]


def one_after_the_other(path, end):
    report.write(path, ['ready'])
    while time.time() < end:
        pid = os.fork()
        if pid == 0:
            busy_brief(time.time() + 0.03)
            os._exit(0)
        os.waitpid(pid, 0)


def main(path, kind, life, last=''):
    end = time.time() + float(life)
    if kind == 'worker':
        return WORKERS[last](path, end)
    if kind == 'brief':
        return one_after_the_other(path, end)
    if kind == 'prefork':
        wait = by_fork(path, end)
    elif kind in ('subprocess', 'shell', 'other'):
        wait = by_command(kind, path, end, last)
    else:
        wait = by_multiprocessing(kind, path, end)
    if wait is None:
        report.write(path, ['skip no such start method'])
        time.sleep(float(life))
        return None
    while not all(os.path.exists('%s.%s' % (path, name)) for name in WORKERS):
        time.sleep(0.01)
    report.write(path, ['ready'])
    wait()
    sys.exit(7)


if __name__ == '__main__':
    main(*sys.argv[1:])
