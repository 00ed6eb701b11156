"""A program to try the profiler on: for ten seconds it counts the words of a book, chapter by chapter.

    target/release/pyflame $(python3 tests/programs/sample.py)

It works in the background: it prints its process id, which the shell hands on, and ends by itself.
"""

import os
import sys
import time

SECONDS = 10
CHAPTERS = [" ".join("word%d" % (n * n % size) for n in range(4000)) for size in (997, 1499, 1999)]


def read(chapter):
    return chapter.title().lower().split()


def count(words):
    counts = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts


def rank(counts):
    return sorted(counts, key=lambda word: (-counts[word], word))


def work(chapter):
    words = read(chapter)
    counts = count(words)
    return rank(counts)[:10]


def main():
    end = time.time() + SECONDS
    while time.time() < end:
        for chapter in CHAPTERS:
            work(chapter)
        time.sleep(0.001)


def let_others_look():
    """Where the kernel lets a user look at descendants only (ptrace_scope 1), a process can allow more."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER, ..._ANY
    except (ImportError, OSError, AttributeError):
        pass


if __name__ == "__main__":
    pid = os.fork()
    if pid:
        print(pid)
        sys.exit()
    let_others_look()
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):  # the shell waits until nobody can write to its $(...) any more
        os.dup2(nothing, standard)
    main()
