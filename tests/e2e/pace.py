"""Both ends of a WebSocket whose round trips are measured, each a process of its own, so that nothing else delays them.

    pace.py echo PORT       sends every message back
    pace.py ask URL         sends a message every few milliseconds until its input ends, then prints the round trips
"""

import asyncio
import json
import sys
import time

import websockets.asyncio.client
import websockets.asyncio.server

PACE = 0.005


async def echo(port):
    async def back(socket):
        async for message in socket:
            await socket.send(message)

    async with websockets.asyncio.server.serve(back, "127.0.0.1", port, compression=None):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def ask(url):
    """Messages go out at their pace, whether the one before is back or not: a delay counts for all that it holds up."""
    sent, back = [], []

    async def hear(socket):
        async for message in socket:
            back.append(time.monotonic())
            if message != b"%d" % (len(back) - 1):
                raise ValueError(f"message {len(back) - 1} came back as {message}")

    async with websockets.asyncio.client.connect(url, compression=None, proxy=None) as socket:
        print("ready", flush=True)
        hears = asyncio.create_task(hear(socket))
        over = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        while not over.done() and not hears.done():
            sent.append(time.monotonic())
            await socket.send(b"%d" % (len(sent) - 1))
            await asyncio.sleep(PACE)
        deadline = time.monotonic() + 20
        while len(back) < len(sent) and not hears.done() and time.monotonic() < deadline:
            await asyncio.sleep(PACE)
        await socket.close()
        await hears
    print(json.dumps([sent, back]))


if sys.argv[1] == "echo":
    asyncio.run(echo(int(sys.argv[2])))
else:
    asyncio.run(ask(sys.argv[2]))
