"""Stacks that came with 3.11."""
from waiting import case


@case
def exception_group(wait):
    try:
        raise ExceptionGroup('both', [ValueError(1), TypeError(2)])
    except* ValueError:
        pass
    except* TypeError:
        wait()


@case
def nested_names(wait):
    class Outer:
        class Inner:
            def method(self):
                def local():
                    return (lambda: [wait() for _ in range(1)])()
                return local()
    Outer.Inner().method()
