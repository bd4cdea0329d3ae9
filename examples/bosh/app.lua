-- As much of an XMPP server as strophe.js needs to come in and talk in rooms. The hub speaks BOSH; what arrives here are
-- stanzas, one at a time, and what is sent here are others. One that is not well-formed reaches clients as plain text only.
--
-- Who is connected, under which name and in which room is kept by Kennel: any worker may take any stanza.
local kennel = require "kennel"
local app = kennel.app()

local DOMAIN, LONGEST = "localhost", 200
local FEATURES = '<stream:features xmlns:stream="http://etherx.jabber.org/streams">%s</stream:features>'
local MECHANISMS = '<mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>ANONYMOUS</mechanism></mechanisms>'
local BIND = '<bind xmlns="urn:ietf:params:xml:ns:xmpp-bind">%s</bind>'

-- The value of an attribute of a stanza, as it can be put between double quotes. It is XML already, so quotes are
-- all that is left to escape.
local function attribute(stanza, name)
  local _, value = stanza:match("^<[^>]*"):match("%s" .. name .. "=([\"'])(.-)%1")
  return value and value:gsub('"', "&quot;")
end

-- A stanza that says of somebody that they are in the room, or not any more.
local function presence(me, kind)
  local more = kind and ' type="' .. kind .. '"' or ""
  return ('<presence xmlns="jabber:client" from="%s/%s"%s/>'):format(me.room, me.nick, more)
end

local function leave(conn)
  local me = conn.data
  if me.room then
    conn:leave(me.room)
    kennel.room(me.room):send(presence(me, "unavailable"))
    conn.data = { jid = me.jid }
  end
end

-- What a client may send, by the name of the stanza.
local on = {}

-- Everybody may come in.
function on.auth(conn)
  conn.data = { jid = conn.id .. "@" .. DOMAIN .. "/web" }
  conn:send '<success xmlns="urn:ietf:params:xml:ns:xmpp-sasl"/>'
  -- The client begins anew once it has read that, with a request that carries no stanza. What it waits for then
  -- must not come in the same answer, and what is sent after a pause does not.
  kennel.sleep(0.05)
  conn:send(FEATURES:format(BIND:format ""))
end

function on.iq(conn, stanza)
  local id, kind = attribute(stanza, "id") or "", attribute(stanza, "type")
  local reply = '<iq xmlns="jabber:client" type="%s" id="%s">%s</iq>'
  if stanza:find("<bind", 1, true) then
    conn:send(reply:format("result", id, BIND:format("<jid>" .. conn.data.jid .. "</jid>")))
  elseif kind == "get" or kind == "set" then
    local why = '<service-unavailable xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/>'
    conn:send(reply:format("error", id, '<error type="cancel">' .. why .. "</error>"))
  end
end

-- To `room@conference.localhost/nick`: who says that is in the room.
function on.presence(conn, stanza)
  local room, nick = (attribute(stanza, "to") or ""):match("^([^/]+)/(.+)$")
  if not room then return end
  leave(conn)
  if #room > LONGEST or #nick > LONGEST or attribute(stanza, "type") == "unavailable" then return end
  local me = { jid = conn.data.jid, room = room, nick = nick }
  for _, other in ipairs(kennel.room(room):members()) do
    conn:send(presence(other.data))
  end
  conn.data = me
  conn:join(room)
  kennel.room(room):send(presence(me))
end

-- A line for the room, which goes to all in it, the sender too.
function on.message(conn, stanza)
  local me, id, words = conn.data, attribute(stanza, "id") or "", stanza:match("<body[^>]*>([^<]+)</body>")
  if me.room and words then
    local line = '<message xmlns="jabber:client" type="groupchat" from="%s/%s" id="%s"><body>%s</body></message>'
    kennel.room(me.room):send(line:format(me.room, me.nick, id, words))
  end
end

app:channel("/bosh", {
  open = function(conn)
    if conn.transport ~= "bosh" then return conn:close(1003, "BOSH is spoken here") end
    conn:send(FEATURES:format(MECHANISMS))
  end,
  message = function(conn, stanza)
    local name = not conn.binary and stanza:match "^<(%a+)"
    if name == "auth" or on[name] and conn.data.jid then on[name](conn, stanza) end
  end,
  close = leave,
})

return app
