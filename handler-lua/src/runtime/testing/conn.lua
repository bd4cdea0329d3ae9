-- A client that is connected to a channel, as tests see it.

local native = ...

local Conn = {}
Conn.__index = function(conn, name)
  if name == "closed" then
    local code, reason = conn._site:ended(conn._client)
    return code and { code = code, reason = reason } or nil
  elseif name == "data" then
    local text = conn._site:data(conn._client)
    if text then
      local ok, value = native.json_decode(text)
      return ok and value ~= native.null and value or nil
    end
  elseif name == "id" or name == "rooms" then
    for _, entry in ipairs(conn._site:connections()) do
      if entry.client == conn._client then
        return entry[name]
      end
    end
  end
  return Conn[name]
end

local function check(ok, problem)
  if not ok then
    error(problem, 3)
  end
end

-- Sends a text; a table as JSON.
function Conn:send(message)
  if type(message) == "table" then
    local text, problem = native.json_encode(message)
    message = text or error(problem, 2)
  elseif type(message) ~= "string" then
    error("send takes a string or a table, not a " .. type(message), 2)
  end
  check(self._site:send(self._client, false, message))
end

function Conn:send_binary(bytes)
  if type(bytes) ~= "string" then
    error("send_binary takes a string, not a " .. type(bytes), 2)
  end
  check(self._site:send(self._client, true, bytes))
end

-- The next message that the app sent, and whether it is binary; nil when there is none.
function Conn:receive()
  return self._site:receive(self._client)
end

-- The same, read as JSON.
function Conn:receive_json()
  local text = self._site:receive(self._client)
  if text == nil then
    return nil
  end
  local ok, value = native.json_decode(text)
  return ok and value or error("the message is no JSON (" .. value .. "): " .. text:sub(1, 200), 2)
end

-- All messages that have come and were not received yet, as a list.
function Conn:messages()
  local list = {}
  repeat
    local message = self._site:receive(self._client)
    list[#list + 1] = message
  until message == nil
  return list
end

-- Closes from the client's side.
function Conn:close(code, reason)
  check(self._site:close(self._client, code or 1000, reason or ""))
end

-- Goes away without a word.
function Conn:vanish()
  check(self._site:vanish(self._client))
end

return function(site, client, answer)
  return setmetatable({
    _site = site,
    _client = client,
    response = answer,
    protocol = answer and answer.headers["sec-websocket-protocol"],
  }, Conn)
end
