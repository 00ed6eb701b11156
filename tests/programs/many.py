"""many.py READY FUNCTIONS STACKS: that many functions, each calling others, so that there are that many stacks.

`outer<i>` at line L calls the next one of its `inner<j>`, where j = i + k * STRIDE for k from 0; every stack is kept for
some microseconds, and they come in turn. READY says `half N` (how many of each), `rounds N` (bound of k) and `stride N`.
"""
import sys

import report

STRIDE = 17


def linger():
    for _ in range(40):
        pass


def generated(count):
    """The source: `count` outer functions and as many inner ones, two lines each."""
    lines = []
    for i in range(count):
        lines += ['def outer%d(inner):' % i, '    inner()', 'def inner%d():' % i, '    linger()']
    return '\n'.join(lines)


def drive(outers, inners, rounds):
    while True:
        for k in range(rounds):
            for i, outer in enumerate(outers):
                outer(inners[(i + k * STRIDE) % len(inners)])


def main(path, functions, stacks):
    half = functions // 2
    space = {'linger': linger}
    eval(compile(generated(half), 'generated.py', 'exec'), space)
    outers = [space['outer%d' % i] for i in range(half)]
    inners = [space['inner%d' % i] for i in range(half)]
    rounds = max(1, stacks // half)
    report.write(path, ['half %d' % half, 'rounds %d' % rounds, 'stride %d' % STRIDE])
    drive(outers, inners, rounds)


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
