def child():
    while True: pass
def known():
    child()
known()
