"""Stacks of asyncio, which needs extension modules."""
import asyncio

from waiting import case


@case
def event_loop(wait):
    async def worker(n):
        await asyncio.sleep(0)
        if n == 2:
            await asyncio.sleep(0.001)
            async for x in ticks():
                pass

    async def ticks():
        for i in range(3):
            yield i
            await asyncio.sleep(0)
        wait()

    async def main():
        await asyncio.gather(*[worker(i) for i in range(4)])
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(main())


@case
def loop_callback(wait):
    loop = asyncio.new_event_loop()
    loop.call_soon(
        lambda: wait())
    loop.run_forever()
