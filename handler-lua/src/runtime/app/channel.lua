-- app:channel(): what a script says of live connections, checked at its line.

local native = ...

local CALLBACKS = { "open", "message", "close" }
local SLOW = { "wait", "drop_oldest", "close" }

-- A word in a message, with the known one that it resembles.
local function unknown(what, word, known)
  local text = what .. " `" .. tostring(word) .. "`; there are " .. table.concat(known, ", ")
  local near = type(word) == "string" and native.nearest(word, known)
  return near and text .. "; did you mean `" .. near .. "`?" or text
end

local function texts(value)
  if type(value) ~= "table" then
    return "a list of strings, not a " .. type(value)
  end
  for key, text in pairs(value) do
    if type(key) ~= "number" or type(text) ~= "string" or not value[key - 1] and key ~= 1 then
      return "a list of strings"
    end
  end
end

local function bytes(value)
  if type(value) ~= "number" or value % 1 ~= 0 or value < 1 or value > 2 ^ 53 then
    return "a number of bytes, 1 or more"
  end
end

local OPTIONS = {
  origins = texts,
  protocols = texts,
  max_message = bytes,
  buffer = bytes,
  ping = function(value)
    if type(value) ~= "number" or not (value >= 0 and value < math.huge) then
      return "a number of seconds; 0 means none"
    end
  end,
  deflate = function(value)
    if type(value) ~= "boolean" then
      return "true or false"
    end
  end,
  slow = function(value)
    for _, known in ipairs(SLOW) do
      if value == known then
        return nil
      end
    end
    return 'one of "' .. table.concat(SLOW, '", "') .. '"'
  end,
}

local OPTION_NAMES = {}
for name in pairs(OPTIONS) do
  OPTION_NAMES[#OPTION_NAMES + 1] = name
end
table.sort(OPTION_NAMES)

-- What is wrong with the options, or nothing.
local function options_problem(options)
  if type(options) ~= "table" then
    return "its options are a table, not a " .. type(options)
  end
  for name, value in pairs(options) do
    local check = OPTIONS[name]
    if not check then
      return unknown("there is no option", name, OPTION_NAMES)
    end
    local wanted = check(value)
    if wanted then
      return "option `" .. name .. "` is " .. wanted
    end
  end
end

-- What is wrong with the callbacks, or nothing.
local function handlers_problem(handlers)
  if type(handlers) == "function" then
    return nil
  elseif type(handlers) ~= "table" then
    return "it takes a table of callbacks or a function, not a " .. type(handlers)
  end
  for name, fn in pairs(handlers) do
    if name ~= "open" and name ~= "message" and name ~= "close" then
      return unknown("there is no callback", name, CALLBACKS)
    elseif type(fn) ~= "function" then
      return "callback `" .. name .. "` is a function, not a " .. type(fn)
    end
  end
end

-- What is wrong with the path, or nothing, and the names of its values. Those that begin with a slash are the
-- route table's to judge.
local function path_problem(path, number, place)
  if path:sub(1, 1) == "/" then
    local names, problem = native.add_channel(path, number, place)
    return problem, names
  elseif not (path:match("^@[^%s%c{}]+$") or path:match("^<[%w._:-]+$")) then
    return "channel `"
      .. path
      .. "`: a path is `/path` for WebSockets, `@name` for JSON sockets or `<tag` for XML sockets"
  end
end

-- Registers a channel; `level` counts from here to the script.
local function add(channels, path, options, handlers, level)
  if type(path) ~= "string" then
    error("a channel's path must be a string, not a " .. type(path), level)
  end
  if handlers == nil then
    options, handlers = nil, options
  end
  local problem = options ~= nil and options_problem(options) or handlers_problem(handlers)
  if problem then
    error("channel `" .. path .. "`: " .. problem, level)
  end
  for _, other in ipairs(channels) do
    if other.path == path then
      error("channel `" .. path .. "` is registered already (" .. other.place .. ")", level)
    end
  end
  local info = debug.getinfo(level, "Sl")
  local place = info.short_src .. ":" .. info.currentline
  local names
  problem, names = path_problem(path, #channels, place)
  if problem then
    error(problem, level)
  end
  local straight = type(handlers) == "function"
  local callbacks = straight and {} or handlers
  channels[#channels + 1] = {
    path = path,
    place = place,
    straight = straight,
    options = options or {},
    names = names or {},
    run = straight and handlers or nil,
    open = callbacks.open,
    message = callbacks.message,
    close = callbacks.close,
    title = "channel `" .. path .. "` (" .. place .. ")",
  }
end

-- Numbers channels by their paths, for the order of registration may differ between workers.
local function number(channels)
  table.sort(channels, function(a, b)
    return a.path < b.path
  end)
  for at, channel in ipairs(channels) do
    channel.handler = at - 1
  end
end

return { add = add, number = number }
