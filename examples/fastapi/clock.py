"""The time elsewhere: a page, JSON, a WebSocket and a stream, by FastAPI."""

import asyncio
import datetime

from fastapi import FastAPI, HTTPException, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, StreamingResponse

app = FastAPI()

#: Hours from Greenwich, in winter.
CITIES = {"lisbon": 0, "berlin": 1, "nairobi": 3, "mumbai": 5.5, "tokyo": 9, "lima": -5}

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>The time elsewhere</title>
<h1>The time elsewhere</h1>
<p><label>City <select>{options}</select></label> <output>-</output>
<p><a href="/time/tokyo">as JSON</a>, <a href="/countdown/5">a countdown</a>, <a href="/docs">what else there is</a>
<script>
  const choice = document.querySelector("select")
  const socket = new WebSocket("ws" + location.origin.slice(4) + "/clock")
  socket.onopen = choice.onchange = () => socket.send(choice.value)
  socket.onmessage = event => document.querySelector("output").textContent = event.data
</script>
"""


def time_in(city: str) -> str:
    zone = datetime.timezone(datetime.timedelta(hours=CITIES[city]))
    return datetime.datetime.now(zone).strftime("%H:%M:%S")


@app.get("/", response_class=HTMLResponse)
def page() -> str:
    return PAGE.format(options="".join(f"<option>{city}</option>" for city in CITIES))


@app.get("/time/{city}")
def time(city: str) -> dict[str, str]:
    if city not in CITIES:
        raise HTTPException(404, f"{city} is not among the cities: {', '.join(CITIES)}")
    return {"city": city, "time": time_in(city)}


@app.websocket("/clock")
async def clock(socket: WebSocket) -> None:
    """Tells the time of the city that was asked for last, every second."""
    await socket.accept()
    city = None
    question = asyncio.create_task(socket.receive_text())
    try:
        while True:
            await asyncio.wait([question], timeout=1)
            if question.done():
                city = question.result()
                question = asyncio.create_task(socket.receive_text())
            await socket.send_text(time_in(city) if city in CITIES else "?")
    except WebSocketDisconnect:
        pass
    finally:
        question.cancel()


@app.get("/countdown/{seconds}")
async def countdown(seconds: int) -> StreamingResponse:
    """One line a second, each sent when it is due."""

    async def lines():
        for left in range(seconds, 0, -1):
            yield f"{left}\n"
            await asyncio.sleep(1)
        yield "lift-off\n"

    return StreamingResponse(lines(), media_type="text/plain")
