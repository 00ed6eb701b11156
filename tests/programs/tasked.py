"""tasked.py: a worker of Celery that gives itself tasks, each of which computes for SECONDS of the environment."""
import os

from celery import Celery
from celery.signals import worker_ready

import served

app = Celery('tasked', broker='memory://')
app.conf.worker_prefetch_multiplier = 1


@app.task
def computing(seconds):
    served.busy_worker(seconds)


@worker_ready.connect
def begin(**_):
    for _ in range(4):
        computing.delay(float(os.environ['SECONDS']))
