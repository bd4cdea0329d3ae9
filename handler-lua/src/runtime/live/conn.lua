-- The connection as scripts see it: one handle for each that this worker has, and handles for those of
-- other workers.
--
-- A handle holds its state under a key of its own, so that scripts may keep what they like in it:
--   [1]      the number under which the hub knows it, false when nothing can be sent any more
--   number   the same, for good
--   owned    the connection is this worker's
-- and what conn_state.lua and linear.lua keep there of one that is owned.

local native, parts = ...
local scheduler, request = parts.scheduler, parts.request

local STATE = native.state_key

local Conn = {}
local methods, fields = {}, {}
-- Fields that belong to Kennel, beside those that are functions.
local constants = {
  id = true,
  transport = true,
  resumed = true,
  binary = true,
  close_code = true,
  close_reason = true,
}

local function state_of(conn, name)
  local state = type(conn) == "table" and rawget(conn, STATE)
  return state or error("write conn:" .. name .. "(...), with a colon", 3)
end

Conn.__index = function(conn, key)
  local method = methods[key]
  if method then
    return method
  end
  local state = rawget(conn, STATE)
  if constants[key] then
    return state[key]
  end
  local field = fields[key]
  if field then
    local value = field(state)
    return value
  end
end
Conn.__tostring = function(conn)
  return "connection " .. rawget(conn, STATE).id
end

local function name_problem(room)
  if type(room) ~= "string" then
    return "a room's name is a string, not a " .. type(room)
  elseif room == "" or #room > native.max_room then
    return native.room_problem(#room)
  end
end

local function close_problem(code, reason)
  if type(code) ~= "number" or code % 1 ~= 0 then
    return "a close code is " .. native.close_codes .. ", not " .. tostring(code)
  elseif type(reason) ~= "string" then
    return "a reason is a string, not a " .. type(reason)
  end
  local problem = native.close_problem(code, #reason)
  if problem then
    return problem
  elseif not native.is_text(reason) then
    return "a reason is UTF-8, and this string is not"
  end
end

-- A message that is no string as one: the text, or nil and the problem.
local function to_text(message)
  local kind = type(message)
  if kind == "number" then
    return tostring(message)
  elseif kind == "table" then
    return native.json_encode(message)
  end
  return nil, "a message is a string, a number or a table, not a " .. kind
end

-- Where native.send finds it.
STATE[1] = to_text
methods.send, methods.send_binary = native.send, native.send_binary

-- Asks the hub and waits for what it says.
local function ask(question, subject, what, level)
  if scheduler.is_loading() then
    error(what .. " works in handlers and tasks, not while the script loads", level + 1)
  end
  return scheduler.pause(-native.query(question, subject, scheduler.account()))
end

function methods.close(conn, code, reason)
  local state = state_of(conn, "close")
  code, reason = code or 1000, reason or ""
  local problem = close_problem(code, reason)
  if problem then
    error("conn:close: " .. problem, 2)
  end
  if not state[1] then
    return false
  end
  native.close_conn(state[1], code, reason)
  state[1] = false
  return true
end

local function change_room(name, native_change, present)
  methods[name] = function(conn, room)
    local state = state_of(conn, name)
    local problem = name_problem(room)
    if problem then
      error("conn:" .. name .. ": " .. problem, 2)
    end
    if not state[1] then
      return false
    end
    native_change(state[1], room)
    if state.owned then
      state.rooms[room] = present
    end
    return true
  end
end
change_room("join", native.join, true)
change_room("leave", native.leave, nil)

function methods.rooms(conn)
  local state = state_of(conn, "rooms")
  local names = {}
  if state.owned then
    for name in pairs(state.rooms) do
      names[#names + 1] = name
    end
  else
    names = ask("rooms", ("%d"):format(state.number), "conn:rooms", 2)
  end
  table.sort(names)
  return setmetatable(names, native.array)
end

function fields.request(state)
  return state.request
end

local function or_empty(data)
  if data == nil or data == native.null then
    return {}
  end
  return data
end

-- Decoded when it is first asked for; another worker's may change, so that is asked for each time.
function fields.data(state)
  local data = state.data
  if data == nil then
    if state.owned then
      local ok, value = native.json_decode(state.data_text)
      if not ok then
        value = nil
      end
      data = or_empty(value)
      state.data, state.data_text = data, nil
    else
      data = or_empty(ask("data", ("%d"):format(state.number), "conn.data", 3))
    end
  end
  return data
end

Conn.__newindex = function(conn, key, value)
  if key == "data" then
    local state = rawget(conn, STATE)
    local text, problem = native.json_encode(value)
    if problem then
      error("conn.data: " .. problem, 2)
    end
    problem = native.data_problem(#text)
    if problem then
      error(problem, 2)
    end
    if state.owned then
      state.data = or_empty(value)
    end
    if state[1] then
      native.set_data(state[1], text)
    end
  elseif methods[key] or fields[key] or constants[key] then
    error("conn." .. key .. " belongs to Kennel and cannot be assigned", 2)
  else
    rawset(conn, key, value)
  end
end

local function handle_of(state)
  local handle = setmetatable({ [STATE] = state }, Conn)
  state.handle = handle
  return handle
end

return {
  methods = methods,
  state_of = state_of,
  ask = ask,
  name_problem = name_problem,
  close_problem = close_problem,
  to_text = to_text,
  -- The state behind a handle, nil for anything else.
  state = function(conn)
    return type(conn) == "table" and rawget(conn, STATE) or nil
  end,
  -- A handle for a connection of this worker; `job` is its opening message as a job.
  own = function(state, job, params)
    local handle = handle_of(state)
    local req = request.new(job)
    rawset(req, "params", params)
    rawset(req, "conn", handle)
    state.request = req
    return handle
  end,
  -- A handle for what the hub says of another worker's: { number, id, transport }.
  remote = function(found)
    return handle_of({ found[1], number = found[1], id = found[2], transport = found[3] })
  end,
}
