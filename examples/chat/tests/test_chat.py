"""What the chat promises, in its Python: `kennel test` in the folder above."""

from kennel import testing


def enter(site, name, room):
    """Somebody in a room, and the welcome that they got."""
    conn = site.connect("/chat")
    conn.send({"type": "hello", "name": name, "room": room})
    return conn, conn.receive_json()


def test_who_comes_in_sees_who_is_there_and_is_seen():
    site = testing.site("chat.py")
    ann, welcome = enter(site, "Ann", "lobby")
    assert welcome == {"type": "welcome", "name": "Ann", "room": "lobby", "here": ["Ann"], "history": []}
    _, second = enter(site, "ann", "lobby")
    assert second["name"] == "ann 2"
    assert ann.receive_json()["type"] == "joined"
    assert site.room("lobby").count() == 2


def test_what_is_said_is_heard_in_the_room_and_nowhere_else():
    site = testing.site("chat.py")
    ann, _ = enter(site, "Ann", "lobby")
    bob, _ = enter(site, "Bob", "lobby")
    eve, _ = enter(site, "Eve", "attic")
    ann.messages()
    bob.send({"type": "say", "text": " hi "})
    said = ann.receive_json()
    assert (said["type"], said["name"], said["text"]) == ("said", "Bob", "hi")
    assert eve.receive() is None
    _, welcome = enter(site, "Dan", "lobby")
    assert welcome["history"][0]["text"] == "hi"
