"""served.py: what servers run, as a WSGI application; `tasked.py` has the same as a task of Celery.

For GET /SECONDS it computes for so long in `busy_worker`, and there is a file `busy.PID` in the directory PLACE of the environment.
"""
import os
import time

import report


def busy_worker(seconds):
    end = time.time() + seconds
    report.write(os.path.join(os.environ['PLACE'], 'busy.%d' % os.getpid()), ['ready'])
    while time.time() < end:
        for _ in range(20000):
            pass


def application(environ, start_response):
    busy_worker(float(environ['PATH_INFO'].strip('/')))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'done\n']
