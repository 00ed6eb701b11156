"""What the test programs tell the test: files that appear whole, under their final names.

A program that imports this ends by itself after half an hour, should the test be killed before it.
"""
import os
import signal

signal.alarm(1800)


def write(path, lines):
    """One line each, UTF-8; the file is there with all of them or not at all."""
    part = path + '.part'
    with open(part, 'wb') as out:
        for line in lines:
            out.write(line if isinstance(line, bytes) else line.encode('utf-8'))
            out.write(b'\n')
    os.rename(part, path)


def exact(text):
    """The bytes that a name stands for, in hexadecimal: UTF-8, and for an undecodable byte itself."""
    if isinstance(text, bytes):
        data = text
    else:
        data = b''.join(_character(c) for c in text)
    return ''.join('%02x' % byte for byte in bytearray(data)) or '-'


def _character(c):
    if 0xDC80 <= ord(c) <= 0xDCFF:
        return bytes(bytearray([ord(c) - 0xDC00]))
    try:
        return c.encode('utf-8')
    except UnicodeEncodeError:
        return c.encode('utf-8', 'surrogatepass')


def name(code):
    """The function's name as a profiler shows it: qualified from 3.11 on."""
    return getattr(code, 'co_qualname', code.co_name)


def stack(frame):
    """A stack, newest frame first, as lines of a truth file."""
    lines = []
    while frame is not None:
        code = frame.f_code
        lines.append('frame %s %s %s' % (frame.f_lineno, exact(code.co_filename), exact(name(code))))
        frame = frame.f_back
    return lines
