-- What the chat promises: `kennel test` in the folder above.
local testing = require "kennel.testing"

-- Somebody in a room, and the welcome that they got.
local function enter(site, name, room)
  local conn = site:connect("/chat")
  conn:send({ type = "hello", name = name, room = room })
  return conn, conn:receive_json()
end

testing.test("who comes in sees who is there, and is seen", function()
  local site = testing.site("chat.lua")
  local ann, welcome = enter(site, "Ann", "lobby")
  testing.equal(welcome, { type = "welcome", name = "Ann", room = "lobby", here = { "Ann" }, history = {} })
  local _, second = enter(site, "ann", "lobby")
  testing.equal(second.name, "ann 2")
  testing.equal(second.here, { "Ann", "ann 2" })
  testing.equal(ann:receive_json().type, "joined")
  testing.equal(site:room("lobby"):count(), 2)
end)

testing.test("what is said is heard in the room and nowhere else, and kept for who comes later", function()
  local site = testing.site("chat.lua")
  local ann, bob, eve = enter(site, "Ann", "lobby"), enter(site, "Bob", "lobby"), enter(site, "Eve", "attic")
  ann:messages()
  bob:send({ type = "say", text = " hi " })
  local said = ann:receive_json()
  testing.equal({ said.type, said.name, said.text }, { "said", "Bob", "hi" })
  testing.equal(eve:receive(), nil)
  local _, welcome = enter(site, "Dan", "lobby")
  testing.equal(welcome.history[1].text, "hi")
end)

testing.test("what makes no sense is passed over", function()
  local site = testing.site("chat.lua")
  local ann = enter(site, "Ann", "lobby")
  for _, message in ipairs({ "", "nonsense", "[]", '{"type":"explode"}', '{"type":"say","text":7}' }) do
    ann:send(message)
  end
  testing.equal(ann:messages(), {})
  testing.equal(ann.closed, nil)
  ann:send({ type = "hello", name = "", room = "lobby" })
  testing.equal(ann:receive_json().type, "sorry")
end)

testing.test("newer code goes on with the same people", function()
  local site = testing.site("chat.lua")
  local ann, bob = enter(site, "Ann", "lobby"), enter(site, "Bob", "lobby")
  site:reload()
  ann:messages()
  bob:vanish()
  testing.equal(ann:receive_json().type, "left")
  testing.equal(site:room("lobby"):count(), 1)
end)
