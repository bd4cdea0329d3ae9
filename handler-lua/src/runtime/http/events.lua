-- kennel.events(fn): server-sent events, and a comment now and then where there are none.

local native, parts = ...
local scheduler, stream = parts.scheduler, parts.stream

-- Seconds between signs of life: proxies and Mongrel2 cut off what is silent for a minute or two.
local SILENCE = 15
local COMMENT = ":\n\n"

local function text_of(value)
  if type(value) == "table" then
    return native.json_encode(value)
  elseif type(value) == "string" or type(value) == "number" then
    return tostring(value)
  end
  return nil, "the data of an event is a string, a number or a table, not a " .. type(value)
end

local KEYS = { event = true, data = true, id = true, retry = true }

-- An event as its lines.
local function encode(given)
  if type(given) ~= "table" then
    given = { data = given }
  end
  for key in pairs(given) do
    if not KEYS[key] then
      return nil, "an event has `event`, `data`, `id` and `retry`, not `" .. tostring(key) .. "`"
    end
  end
  local texts = {}
  for _, key in ipairs({ "event", "data", "id" }) do
    local value = given[key]
    if value ~= nil then
      local text, problem = text_of(value)
      if not text then
        return nil, problem
      end
      texts[key] = text
    end
  end
  local retry = given.retry
  if retry ~= nil and (type(retry) ~= "number" or retry < 0 or retry % 1 ~= 0 or retry > 2 ^ 53) then
    return nil, "`retry` of an event is a whole number of milliseconds"
  end
  return native.event(texts.event, texts.data, texts.id, retry)
end

-- Sends a comment whenever nothing else was sent for a while.
local function keep_alive(serial, state)
  local timer = native.alarm(SILENCE)
  if timer == 0 then
    return
  end
  scheduler.set_alarm(timer, function()
    if state.over or state.gone then
      return
    end
    if not state.sent then
      stream.slip_in(serial, state, COMMENT)
    end
    state.sent = false
    keep_alive(serial, state)
  end)
end

return {
  new = function(fn)
    return stream.new(fn, encode, keep_alive)
  end,
}
