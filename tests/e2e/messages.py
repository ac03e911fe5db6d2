"""WebSockets through an HTTP entry: Python's websockets on both sides."""

import asyncio
import os

import websockets.asyncio.client
import websockets.asyncio.server
import websockets.exceptions

from nodes import WEBSOCKET, check


def check_websocket(tunnel):
    heard = []

    async def echo(socket):
        try:
            async for message in socket:
                await socket.send(message)
        except websockets.exceptions.ConnectionClosedError as closed:
            heard.append(closed.rcvd.code)

    async def talk():
        async with websockets.asyncio.server.serve(echo, "127.0.0.1", WEBSOCKET, max_size=None):
            url = f"ws://127.0.0.1:{tunnel.websocket}/"
            for compression in [None, "deflate"]:
                async with websockets.asyncio.client.connect(
                    url, compression=compression, max_size=None, proxy=None
                ) as socket:
                    for message in ["text", b"binary", "", "x" * 125, "y" * 126, os.urandom(70_000)]:
                        await socket.send(message)
                        back = await socket.recv()
                        check(f"a message of {len(message)}, {compression}", back == message)
                    large = os.urandom(4 * 1024 * 1024)
                    await socket.send([large[:1_000_000], large[1_000_000:]])
                    check(f"4 MiB in fragments, {compression}", await socket.recv() == large)
                    await (await socket.ping())
                    check(f"ping and pong, {compression}", True)
                    await socket.close(4321, "bye")
                    check(f"close code, {compression}", socket.close_code == 4321, socket.close_code)
        check("the upstream hears the close codes", heard == [4321, 4321], heard)

    asyncio.run(talk())
