"""A chat with rooms. Mongrel2 serves the page in public/; here is what the page talks to.

Who is connected, in which room and under which name is kept by Kennel, not in a variable: save this file while people
talk, or kill its worker, and nobody is disconnected. What was said is kept in a variable, so it goes with the worker,
and kennel.toml says that there is only one.
"""

import json
import time

import kennel

app = kennel.App()

KEPT = 50
history = {}  # by room, the last lines


def text(value, longest):
    """The text without blanks around it, or None unless it has 1 to `longest` characters."""
    if isinstance(value, str) and 1 <= len(value.strip()) <= longest:
        return value.strip()
    return None


def names_in(room):
    return [conn.data["name"] for conn in kennel.room(room).members()]


def free_name(wanted, names):
    """`Ann`, or `Ann 2` where there is an Ann already."""
    taken, name, number = {other.lower() for other in names}, wanted, 1
    while name.lower() in taken:
        number += 1
        name = f"{wanted} {number}"
    return name


@app.channel("/chat")
class Chat:
    def message(self, conn, words):
        try:
            msg = json.loads(words)
        except ValueError:
            return
        kind = msg.get("type") if isinstance(msg, dict) else None
        if kind == "hello":
            self.hello(conn, msg)
        elif kind in ("say", "typing") and conn.data:
            getattr(self, kind)(conn, msg, conn.data)

    def close(self, conn, code, reason):
        me = conn.data
        if me:
            conn.leave(me["room"])
            kennel.room(me["room"]).send({"type": "left", "name": me["name"], "at": int(time.time())})

    def hello(self, conn, msg):
        """Comes first; later it changes the room or the name."""
        wanted, room = text(msg.get("name"), 24), text(msg.get("room"), 24)
        if not wanted or not room:
            conn.send({"type": "sorry", "text": "People and rooms have names of 1 to 24 characters."})
            return
        self.close(conn, None, None)
        here = names_in(room)
        name = free_name(wanted, here)
        conn.data = {"name": name, "room": room}
        conn.join(room)
        lines = history.get(room, [])
        conn.send({"type": "welcome", "name": name, "room": room, "here": [*here, name], "history": lines})
        kennel.room(room).send({"type": "joined", "name": name, "at": int(time.time())}, except_=conn)

    def say(self, conn, msg, me):
        words = text(msg.get("text"), 1000)
        if words:
            line = {"type": "said", "name": me["name"], "text": words, "at": int(time.time())}
            kennel.room(me["room"]).send(line)
            history[me["room"]] = [*history.get(me["room"], []), line][-KEPT:]

    def typing(self, conn, msg, me):
        kennel.room(me["room"]).send({"type": "typing", "name": me["name"]}, except_=conn)


@app.every(600)
def forget():
    """What was said in a room is forgotten an hour after everybody has left it."""
    for room, lines in list(history.items()):
        if lines[-1]["at"] < time.time() - 3600 and kennel.room(room).count() == 0:
            del history[room]
