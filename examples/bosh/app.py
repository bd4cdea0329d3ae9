"""As much of an XMPP server as strophe.js needs to come in and talk in rooms.

The hub speaks BOSH; what arrives here are stanzas, one at a time, and what is sent here are others. One that is not
well-formed reaches clients as plain text only. Who is connected, under which name and in which room is kept by Kennel:
any worker may take any stanza.
"""

import asyncio
import re

import kennel

app = kennel.App()

DOMAIN, LONGEST = "localhost", 200
FEATURES = '<stream:features xmlns:stream="http://etherx.jabber.org/streams">{}</stream:features>'
MECHANISMS = '<mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>ANONYMOUS</mechanism></mechanisms>'
BIND = '<bind xmlns="urn:ietf:params:xml:ns:xmpp-bind">{}</bind>'


def attribute(stanza, name):
    """The value of an attribute of a stanza, as it can be put between double quotes, or "".

    It is XML already, so quotes are all that is left to escape.
    """
    found = re.search(rf"\s{name}=([\"'])(.*?)\1", stanza.partition(">")[0], re.DOTALL)
    return found[2].replace('"', "&quot;") if found else ""


def presence(me, more=""):
    """A stanza that says of somebody that they are in the room, or not any more."""
    return f'<presence xmlns="jabber:client" from="{me["room"]}/{me["nick"]}"{more}/>'


@app.channel("/bosh")
class Bosh:
    def open(self, conn):
        if conn.transport != "bosh":
            conn.close(1003, "BOSH is spoken here")
        else:
            conn.send(FEATURES.format(MECHANISMS))

    async def message(self, conn, stanza):
        found = isinstance(stanza, str) and re.match("<([a-z]+)", stanza)
        name = found and found[1]
        if name == "auth":
            await self.auth(conn)
        elif name in ("iq", "presence", "message") and conn.data:
            getattr(self, f"on_{name}")(conn, stanza)

    def close(self, conn, code, reason):
        self.leave(conn)

    async def auth(self, conn):
        """Everybody may come in."""
        conn.data = {"jid": f"{conn.id}@{DOMAIN}/web"}
        conn.send('<success xmlns="urn:ietf:params:xml:ns:xmpp-sasl"/>')
        # The client begins anew once it has read that, with a request that carries no stanza. What it waits for then
        # must not come in the same answer, and what is sent after a pause does not.
        await asyncio.sleep(0.05)
        conn.send(FEATURES.format(BIND.format("")))

    def on_iq(self, conn, stanza):
        reply = '<iq xmlns="jabber:client" type="{}" id="{}">{}</iq>'
        stanza_id = attribute(stanza, "id")
        if "<bind" in stanza:
            conn.send(reply.format("result", stanza_id, BIND.format(f"<jid>{conn.data['jid']}</jid>")))
        elif attribute(stanza, "type") in ("get", "set"):
            why = '<service-unavailable xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/>'
            conn.send(reply.format("error", stanza_id, f'<error type="cancel">{why}</error>'))

    def on_presence(self, conn, stanza):
        """To `room@conference.localhost/nick`: who says that is in the room."""
        room, _, nick = attribute(stanza, "to").partition("/")
        if not room or not nick:
            return
        self.leave(conn)
        if max(len(room.encode()), len(nick.encode())) > LONGEST or attribute(stanza, "type") == "unavailable":
            return
        me = {**conn.data, "room": room, "nick": nick}
        for other in kennel.room(room).members():
            conn.send(presence(other.data))
        conn.data = me
        conn.join(room)
        kennel.room(room).send(presence(me))

    def on_message(self, conn, stanza):
        """A line for the room, which goes to all in it, the sender too."""
        me, words = conn.data, re.search(r"<body[^>]*>([^<]+)</body>", stanza)
        if words and "room" in me:
            line = f'id="{attribute(stanza, "id")}"><body>{words[1]}</body></message>'
            sender = f"{me['room']}/{me['nick']}"
            kennel.room(me["room"]).send(f'<message xmlns="jabber:client" type="groupchat" from="{sender}" {line}')

    def leave(self, conn):
        me = conn.data
        if "room" in me:
            conn.leave(me["room"])
            kennel.room(me["room"]).send(presence(me, ' type="unavailable"'))
            conn.data = {"jid": me["jid"]}
