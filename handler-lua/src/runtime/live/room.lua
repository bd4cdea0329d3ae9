-- kennel.room() and kennel.connection(): who is there, in all workers.

local native, parts = ...
local conns, orders = parts.conn, parts.orders

local ask = conns.ask

local Room = {}
Room.__index = Room
Room.__tostring = function(room)
  return "room " .. room.name
end

local function name_of(room, name)
  if type(room) ~= "table" or getmetatable(room) ~= Room then
    error("write room:" .. name .. "(...), with a colon", 3)
  end
  return room.name
end

-- The number of the connection that is left out, 0 for none; or nil and the problem.
local function except_of(options)
  if options == nil then
    return 0
  elseif type(options) ~= "table" then
    return nil, "the options are a table, as in { except = conn }, not a " .. type(options)
  end
  for name in pairs(options) do
    if name ~= "except" then
      return nil, "there is no option `" .. tostring(name) .. "`; there is `except`"
    end
  end
  if options.except == nil then
    return 0
  end
  local state = conns.state(options.except)
  if not state then
    return nil, "`except` is a connection, not a " .. type(options.except)
  end
  return state.number
end

function Room.send(room, message, options)
  local name = name_of(room, "send")
  local problem, except
  if type(message) ~= "string" then
    message, problem = conns.to_text(message)
  elseif not native.is_text(message) then
    problem = "this string is not UTF-8; send_binary sends any bytes"
  end
  if not problem then
    except, problem = except_of(options)
  end
  if problem then
    error("room:send: " .. problem, 2)
  end
  native.publish(name, except, false, message)
end

function Room.send_binary(room, bytes, options)
  local name = name_of(room, "send_binary")
  local except, problem = except_of(options)
  if type(bytes) ~= "string" then
    problem = "bytes are a string, not a " .. type(bytes)
  end
  if problem then
    error("room:send_binary: " .. problem, 2)
  end
  native.publish(name, except, true, bytes)
end

function Room.count(room)
  local name = name_of(room, "count")
  local count = ask("count", name, "room:count", 2)
  return count
end

function Room.members(room)
  local name = name_of(room, "members")
  local found = ask("members", name, "room:members", 2)
  for at, member in ipairs(found) do
    found[at] = orders.handle(member)
  end
  return found
end

function Room.close(room, code, reason)
  local name = name_of(room, "close")
  code, reason = code or 1000, reason or ""
  local problem = conns.close_problem(code, reason)
  if problem then
    error("room:close: " .. problem, 2)
  end
  native.close_room(name, code, reason)
end

return {
  room = function(name)
    local problem = conns.name_problem(name)
    if problem then
      error("kennel.room: " .. problem, 2)
    end
    return setmetatable({ name = name }, Room)
  end,
  connection = function(id)
    if type(id) ~= "string" then
      error("kennel.connection takes an id, which is a string, not a " .. type(id), 2)
    end
    local handle = orders.find(id)
    if handle then
      return handle
    end
    local found = ask("connection", id, "kennel.connection", 2)
    if found and found ~= native.null then
      return orders.handle(found)
    end
    return nil
  end,
}
