-- A chat with rooms. Mongrel2 serves the page in public/; here is what the page talks to.
--
-- Who is connected, in which room and under which name is kept by Kennel, not in a variable: save this
-- file while people talk, or kill its worker, and nobody is disconnected. What was said is kept in a
-- variable, so it goes with the worker, and kennel.toml says that there is only one.
local kennel = require "kennel"
local app = kennel.app()

local history, kept = {}, 50 -- by room, the last lines

-- The text without blanks around it, or nil unless it has 1 to `longest` characters.
local function text(value, longest)
  if type(value) ~= "string" or #value > 4 * longest then return nil end
  value = value:match("^%s*(.-)%s*$")
  local _, characters = value:gsub("[^\128-\191]", "") -- bytes that begin a character of UTF-8
  return characters >= 1 and characters <= longest and value or nil
end

local function names_in(room)
  local names = {}
  for _, conn in ipairs(kennel.room(room):members()) do
    table.insert(names, conn.data.name)
  end
  return names
end

-- "Ann", or "Ann 2" where there is an Ann already.
local function free_name(wanted, names)
  local taken, name, number = {}, wanted, 1
  for _, other in ipairs(names) do
    taken[other:lower()] = true
  end
  while taken[name:lower()] do
    number = number + 1
    name = wanted .. " " .. number
  end
  return name
end

local function leave(conn)
  local me = conn.data
  if me and me.room then
    conn:leave(me.room)
    kennel.room(me.room):send({ type = "left", name = me.name, at = os.time() })
  end
end

-- What a page may ask for, by the type of its message.
local on = {}

-- Comes first; later it changes the room or the name.
function on.hello(conn, msg)
  local wanted, room = text(msg.name, 24), text(msg.room, 24)
  if not wanted or not room then
    return conn:send({ type = "sorry", text = "People and rooms have names of 1 to 24 characters." })
  end
  leave(conn)
  local here, lines = names_in(room), kennel.array(history[room] or {})
  local name = free_name(wanted, here)
  table.insert(here, name)
  conn.data = { name = name, room = room }
  conn:join(room)
  conn:send({ type = "welcome", name = name, room = room, here = here, history = lines })
  kennel.room(room):send({ type = "joined", name = name, at = os.time() }, { except = conn })
end

function on.say(conn, msg, me)
  local words, lines = text(msg.text, 1000), history[me.room] or {}
  if not words then return end
  table.insert(lines, { type = "said", name = me.name, text = words, at = os.time() })
  kennel.room(me.room):send(lines[#lines])
  if #lines > kept then table.remove(lines, 1) end
  history[me.room] = lines
end

function on.typing(conn, _, me)
  kennel.room(me.room):send({ type = "typing", name = me.name }, { except = conn })
end

app:channel("/chat", {
  message = function(conn, bytes)
    local ok, msg = pcall(kennel.json_decode, bytes)
    if not ok or type(msg) ~= "table" or not on[msg.type] then return end
    local me = conn.data or {}
    if me.room or msg.type == "hello" then on[msg.type](conn, msg, me) end
  end,
  close = leave,
})

-- What was said in a room is forgotten an hour after everybody has left it.
app:every(600, function()
  for room, lines in pairs(history) do
    local is_old = lines[#lines].at < os.time() - 3600
    if is_old and kennel.room(room):count() == 0 then history[room] = nil end
  end
end)

return app
