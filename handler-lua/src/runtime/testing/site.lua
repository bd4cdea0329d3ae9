-- A site and its responses, as tests see them.

local native, new_conn = ...

local function json_of(value, what, level)
  local text, problem = native.json_encode(value)
  return text or error(what .. ": " .. problem, level + 1)
end

local function by_text(a, b)
  return tostring(a) < tostring(b)
end

-- A table of a test's as a list of pairs: { a = 1, b = { 2, 3 } } is { {"a","1"}, {"b","2"}, {"b","3"} }.
local function pairs_of(values, what, level)
  if values == nil then
    return nil
  elseif type(values) ~= "table" then
    error(what .. " is a table of names and values, not a " .. type(values), level + 1)
  end
  local list, names = {}, {}
  for name in pairs(values) do
    if type(name) ~= "string" then
      error(what .. " has the key " .. tostring(name) .. ", which is no name", level + 1)
    end
    names[#names + 1] = name
  end
  table.sort(names, by_text)
  for _, name in ipairs(names) do
    local value = values[name]
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      if type(one) ~= "string" and type(one) ~= "number" and type(one) ~= "boolean" then
        error(what .. "." .. name .. " is a " .. type(one) .. ", which is no text", level + 1)
      end
      list[#list + 1] = { name, tostring(one) }
    end
  end
  return list
end

local function files_of(files, level)
  if files == nil then
    return nil
  elseif type(files) ~= "table" then
    error("files is a table of names and files, not a " .. type(files), level + 1)
  end
  local list, names = {}, {}
  for name in pairs(files) do
    names[#names + 1] = name
  end
  table.sort(names, by_text)
  for _, name in ipairs(names) do
    local value = files[name]
    if type(value) == "table" and value[1] == nil then
      value = { value }
    end
    for _, file in ipairs(type(value) == "table" and value or { { content = value } }) do
      if type(file) ~= "table" or type(file.content) ~= "string" then
        error("files." .. tostring(name) .. " is a text, or { filename =, content =, content_type = }", level + 1)
      end
      list[#list + 1] = {
        name = tostring(name),
        filename = file.filename or tostring(name),
        content_type = file.content_type,
        content = file.content,
      }
    end
  end
  return list
end

local KNOWN = {
  "headers", "query", "cookies", "form", "files", "json", "body", "follow", "cookie_jar", "patience", "protocols", "origin",
}
for _, name in ipairs(KNOWN) do
  KNOWN[name] = true
end

local function options_of(options, level)
  if options == nil then
    return {}
  elseif type(options) ~= "table" then
    error("the options of a request are a table, not a " .. type(options), level + 1)
  end
  for name in pairs(options) do
    if not KNOWN[name] then
      error("a request has no option `" .. tostring(name) .. "`; there are " .. table.concat(KNOWN, ", "), level + 1)
    end
  end
  local bodies = (options.json ~= nil and 1 or 0) + (options.body ~= nil and 1 or 0)
    + ((options.form or options.files) and 1 or 0)
  if bodies > 1 then
    error("a request has one body: json, body, or form and files", level + 1)
  end
  if options.body ~= nil and type(options.body) ~= "string" then
    error("body is a string; a table is sent by json = or form =", level + 1)
  end
  local headers = pairs_of(options.headers, "headers", level + 1)
  if options.protocols or options.origin then
    headers = headers or {}
    if options.origin then
      headers[#headers + 1] = { "origin", options.origin }
    end
    if options.protocols then
      headers[#headers + 1] = { "sec-websocket-protocol", table.concat(options.protocols, ", ") }
    end
  end
  return {
    headers = headers,
    query = pairs_of(options.query, "query", level + 1),
    cookies = pairs_of(options.cookies, "cookies", level + 1),
    form = pairs_of(options.form, "form", level + 1),
    files = files_of(options.files, level + 1),
    json = options.json ~= nil and json_of(options.json, "json", level + 1) or nil,
    body = options.body,
    follow = options.follow,
    jar = options.cookie_jar,
    patience = options.patience,
  }
end

-- Headers of a response: the first value by a name in any case, all of them by `all`.
local Headers = {}
function Headers.__index(headers, name)
  if name == "all" then
    return function(_, wanted)
      local found = {}
      for _, pair in ipairs(rawget(headers, 1)) do
        if pair[1]:lower() == wanted:lower() then
          found[#found + 1] = pair[2]
        end
      end
      return found
    end
  end
  if type(name) == "string" then
    for _, pair in ipairs(rawget(headers, 1)) do
      if pair[1]:lower() == name:lower() then
        return pair[2]
      end
    end
  end
end
function Headers.__pairs(headers)
  local at, list = 0, rawget(headers, 1)
  return function()
    at = at + 1
    if list[at] then
      return list[at][1], list[at][2]
    end
  end
end

local Response = {}
Response.__index = Response

function Response:json()
  local ok, value = native.json_decode(self.body)
  if ok then
    return value
  end
  error("the response's body is no JSON (" .. value .. "): " .. self.body:sub(1, 200), 2)
end

function Response:__tostring()
  return "response " .. self.status .. ": " .. self.body:sub(1, 200)
end

local function response(status, headers, body, complete, errors)
  return setmetatable({
    status = status,
    headers = setmetatable({ headers }, Headers),
    body = body,
    text = body,
    complete = complete,
    error = errors,
  }, Response)
end

-- What the app has logged as errors since that line, in one text; nil if it has not.
local function errors_since(site, from)
  local texts = {}
  for _, line in ipairs(site._site:log(from)) do
    if line.level == "error" then
      texts[#texts + 1] = line.text
    end
  end
  return texts[1] and table.concat(texts, "\n") or nil
end

local Site = {}
Site.__index = function(site, name)
  if name == "log" then
    local lines = site._site:log(0)
    for _, line in ipairs(lines) do
      if line.fields then
        local ok, fields = native.json_decode(line.fields)
        line.fields = ok and fields or line.fields
      end
    end
    return lines
  elseif name == "time" then
    return site._site:time()
  elseif name == "cookies" then
    local cookies = {}
    for _, pair in ipairs(site._site:cookies()) do
      cookies[pair[1]] = pair[2]
    end
    return cookies
  end
  return Site[name]
end

local function request(site, method, path, options, level)
  if type(path) ~= "string" then
    error("a request takes a path, such as \"/\", not a " .. type(path), level + 1)
  end
  local from = site._site:log_size()
  local prepared = options_of(options, level + 1)
  local status, headers, body, complete = site._site:request(method, path, prepared)
  if not status then
    error(method .. " " .. path .. ": " .. headers, level + 1)
  end
  return response(status, headers, body, complete, errors_since(site, from))
end

function Site:request(method, path, options)
  return request(self, tostring(method):upper(), path, options, 2)
end
for _, method in ipairs({ "get", "post", "put", "patch", "delete", "options", "head" }) do
  Site[method] = function(self, path, options)
    return request(self, method:upper(), path, options, 2)
  end
end

-- Connects a WebSocket, or a socket by `@name` or `<tag`: a connection; or nil and the response of a refusal.
function Site:connect(path, options)
  if type(path) ~= "string" then
    error("connect takes a path, such as \"/chat\", not a " .. type(path), 2)
  end
  local from = self._site:log_size()
  local client, status, headers, body, complete = self._site:connect(path, options_of(options, 2))
  if client == nil then
    error("connecting to " .. path .. ": " .. status, 2)
  elseif not client then
    return nil, response(status, headers, body, complete, errors_since(self, from))
  end
  local answer = status and response(status, headers, body, complete)
  return new_conn(self._site, client, answer)
end

-- Lets so many seconds pass, with all that is due in them.
function Site:advance(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    error("advance takes a number of seconds, 0 or more", 2)
  end
  local ok, problem = self._site:advance(seconds)
  if not ok then
    error(problem, 2)
  end
end

-- Loads the app's code anew; connections go over to it.
function Site:reload()
  local ok, problem = self._site:reload()
  if not ok then
    error(problem, 2)
  end
end

-- Runs code inside the app, as the console's `eval` does, and gives its value as text.
function Site:evaluate(code)
  local text, problem = self._site:evaluate(code)
  return text or error(problem, 2)
end

-- From now on clients answer pings (true, as at first), or do not.
function Site:answer_pings(yes)
  self._site:set_silent(not yes)
end

function Site:forget_cookies()
  self._site:forget_cookies()
end

-- How many connections there are.
function Site:count()
  return #self._site:connections()
end

local Room = {}
Room.__index = Room

function Site:room(name)
  return setmetatable({ _site = self._site, name = name }, Room)
end

function Room:count()
  return #self._site:connections(self.name)
end

-- The ids of its members, as `conn.id` has them.
function Room:members()
  local ids = {}
  for at, entry in ipairs(self._site:connections(self.name)) do
    ids[at] = entry.id
  end
  return ids
end

-- Opens the app of the settings, or that of a file.
return function(source, options)
  if type(source) == "table" then
    source, options = source.app, source
  end
  options = options or {}
  local config = options.config ~= nil and json_of(options.config, "config", 3) or nil
  local native_site, problem = native.open(source and native.find(source), config, options.request_timeout)
  if not native_site then
    error(problem, 3)
  end
  local site = setmetatable({ _site = native_site }, Site)
  native.sites[#native.sites + 1] = native_site
  return site
end
