import asyncio

import kennel

app = kennel.App()
log = kennel.room("log")


def act_at_once(conn, msg):
    """Does what a message says, in its words, unless that takes time."""
    log.send("heard " + msg)
    finish(conn, msg)


async def act(conn, msg):
    """Does what a message says, in its words."""
    log.send("heard " + msg)
    if "slow" in msg:
        await asyncio.sleep(0.05)
    finish(conn, msg)


def finish(conn, msg):
    if "fail" in msg:
        raise RuntimeError("on purpose")
    if "close" in msg:
        conn.close(1000, "bye")
    else:
        conn.send(msg)


@app.channel("/callbacks")
class Callbacks:
    async def open(self, conn):
        conn.send("opened")

    async def message(self, conn, msg):
        await act(conn, msg)

    async def close(self, conn, code, reason):
        log.send(f"closed {code} {reason}")


@app.channel("/callbacks-that-are-plain-functions")
class PlainCallbacks:
    def open(self, conn):
        conn.send("opened")

    def message(self, conn, msg):
        act_at_once(conn, msg)

    def close(self, conn, code, reason):
        log.send(f"closed {code} {reason}")


@app.channel("/failing")
class Failing:
    def open(self, conn):
        raise RuntimeError("on purpose")

    def close(self, conn, code, reason):
        raise RuntimeError("on purpose")


@app.channel("/linear")
async def linear(conn):
    conn.send("resumed" if conn.resumed else "opened")
    async for msg in conn:
        await act(conn, msg)
        if "return" in msg:
            return
    log.send(f"closed {conn.close_code} {conn.close_reason}")


@app.channel("/ticking")
async def ticking(conn):
    while conn.send("tick"):
        await asyncio.sleep(0.05)
    log.send(f"closed {conn.close_code} {conn.close_reason}")


@app.channel("/patient")
async def patient(conn):
    try:
        conn.send(await conn.receive(0.05) or "end")
    except asyncio.TimeoutError:
        conn.send("timeout")
    conn.send(await conn.receive(60) or "end")
    log.send(await conn.receive() or "end")
