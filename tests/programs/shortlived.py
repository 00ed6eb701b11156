"""shortlived.py READY: starts threads without end that end at once."""
import sys
import threading

import report


def compute():
    for _ in range(300):
        pass


def main(path):
    report.write(path, ['ready'])
    while True:
        threads = [threading.Thread(target=compute) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == '__main__':
    main(sys.argv[1])
