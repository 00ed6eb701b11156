# -*- coding: utf-8 -*-
"""blocked.py TRUTH [CASE... | FIRST STEP]: threads that wait in stacks of all kinds, and the truth about them in a file.

Of all kinds, or of these, or of those from number FIRST on in steps of STEP.

The truth comes from sys._current_frames(), taken when nothing moves any more. A sub-interpreter cannot be seen
that way and tells its own stack. A line of the file is one of

    thread IDENT NATIVE NAME        IDENT as threading has it; NATIVE is the kernel's, or -
    frame LINE FILE FUNCTION        of the thread above, newest first; names in hexadecimal
    other IDENT                     a thread that is there, but moves
    error TEXT                      what a case met instead of its wait
"""
import os
import signal
import sys
import threading
import time
import traceback

import cases.every
import report
import waiting
from waiting import since

if since(3, 0):
    import cases.three
if since(3, 6):
    import cases.three_six
if since(3, 6) and waiting.select:
    import cases.three_six_loop
if since(3, 8):
    import cases.three_eight
if since(3, 10):
    import cases.three_ten
if since(3, 11):
    import cases.three_eleven
if since(3, 12):
    import cases.three_twelve
if since(3, 14):
    import cases.three_fourteen

errors = []


def attempt(case, wait):
    try:
        case(wait)
    except BaseException:
        errors.append('%s: %s' % (case.__name__, traceback.format_exc()))
    else:
        errors.append('%s: ended' % case.__name__)


def start(case, wait):
    """One case after the other, so that imports and trace functions do not meet."""
    before, failed = len(waiting.arrived), len(errors)
    thread = threading.Thread(target=attempt, args=(case, wait), name=case.__name__)
    thread.daemon = True
    thread.start()
    deadline = time.time() + 20
    while len(waiting.arrived) == before and len(errors) == failed and time.time() < deadline:
        time.sleep(0.0005)
    if len(waiting.arrived) == before and len(errors) == failed:
        errors.append('%s: does not wait' % case.__name__)


INSIDE = '''
import sys
import time
sys.path.insert(0, %r)
import report

def tell():
    report.write(%r, report.stack(sys._getframe(1)))

def down(n):
    if n:
        return down(
            n - 1)
    tell() or time.sleep(10 ** 5)

down(%d)
'''


def interpreters():
    """The module that makes sub-interpreters and its function that runs source in one; or nothing."""
    for name, function in (('_interpreters', 'exec'), ('_xxsubinterpreters', 'run_string')):
        try:
            module = __import__(name)
            return module, getattr(module, function)
        except ImportError:
            pass


def subinterpreter(path, depth):
    """Blocks in another interpreter; the stack of this one, underneath, is told by the last line."""
    module, execute = interpreters()
    source = INSIDE % (os.path.dirname(os.path.abspath(__file__)), path + '.inside', depth)
    made = module.create()
    report.write(path + '.outside', report.stack(sys._getframe())) or execute(made, source)


def subinterpreters(truth):
    """Lines about threads of two sub-interpreters."""
    lines = []
    for depth in (3, 300):
        path = '%s.%d' % (truth, depth)
        thread = threading.Thread(target=attempt, args=(lambda wait: subinterpreter(path, depth), None), name='subinterpreter')
        thread.daemon = True
        thread.start()
        deadline = time.time() + 10
        while not os.path.exists(path + '.inside') and not errors and time.time() < deadline:
            time.sleep(0.002)
        for part in ('.inside', '.outside'):
            with open(path + part) as known:
                lines += ['thread %d - %s' % (thread.ident, report.exact('sub')), known.read().rstrip()]
        apart.add(thread.ident)
    return lines


apart = set()
chosen = sys.argv[2:]


def standing_still():
    """The frames of all threads, once nothing has moved for a while."""
    def snapshot():
        return {ident: (frame, frame.f_lasti) for ident, frame in sys._current_frames().items() if ident not in apart}
    still, last = 0, None
    while still < 4:
        time.sleep(0.02)
        now = snapshot()
        still, last = (still + 1 if now == last else 0), now
    return {ident: frame for ident, (frame, _) in now.items()}


def native_ids():
    return {thread.ident: getattr(thread, 'native_id', None) or '-' for thread in threading.enumerate()}


def tell(truth):
    me = threading.current_thread().ident
    apart.add(me)
    lines = ['other %d' % me]
    if since(3, 8) and interpreters() and not errors and (not chosen or chosen[0].isdigit()):
        lines += subinterpreters(truth)
    natives, names = native_ids(), {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in standing_still().items():
        lines.append('thread %d %s %s' % (ident, natives.get(ident, '-'), report.exact(names.get(ident, '?'))))
        lines += report.stack(frame)
    lines += ['error ' + error.replace('\n', ' | ') for error in errors]
    report.write(truth, lines)
    time.sleep(waiting.FOREVER)


def handler(number, frame):
    waiting.asleep()


def interrupted(n):
    """The main thread waits in a signal handler."""
    if n:
        return interrupted(n - 1)
    os.kill(os.getpid(), signal.SIGUSR2)
    waiting.asleep()


def main():
    threading.stack_size(64 * 1024 * 1024)
    sys.setrecursionlimit(5000)
    cases = waiting.cases
    if chosen and chosen[0].isdigit():
        cases = cases[int(chosen[0])::int(chosen[1])]
    elif chosen:
        cases = [case for case in cases if case.__name__ in chosen]
    for case in cases:
        start(case, next(waiting.ways))
    teller = threading.Thread(target=tell, args=(sys.argv[1],))
    teller.daemon = True
    teller.start()
    signal.signal(signal.SIGUSR2, handler)
    interrupted(30)


if __name__ == '__main__':
    main()
