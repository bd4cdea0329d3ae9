-- What handlers return, and how it becomes an answer.

local native, parts = ...
local stream = parts.stream

local Stream = stream.Stream
-- The body of a response that is a file: see files.lua.
local File = {}

-- A shorter body is never compressed.
local THRESHOLD = 1024

local Response = {}
Response.__index = Response

-- Header names are compared in lower case; a value may be a list.
local Headers = {
  __index = function(headers, name)
    if type(name) == "string" then
      return rawget(headers, name:lower())
    end
  end,
  __newindex = function(headers, name, value)
    local problem = value ~= nil and native.check_header(name, value)
    if problem then
      error(problem, 2)
    end
    rawset(headers, type(name) == "string" and name:lower() or name, value)
  end,
}

local TEXT = "text/plain; charset=utf-8"
local HTML = "text/html; charset=utf-8"
local JSON = "application/json"
-- The same two for native.answer.
local PLAIN, AS_JSON = 0, 1

-- The functions down to `make` return what is wrong, so that those a script calls can raise it at
-- the script's line.

local function headers_of(given)
  local headers = setmetatable({}, Headers)
  if given == nil then
    return headers
  end
  if type(given) ~= "table" then
    return nil, "headers must be a table of names and values, not a " .. type(given)
  end
  for name, value in pairs(given) do
    local problem = native.check_header(name, value)
    if problem then
      return nil, problem
    end
    headers[name] = value
  end
  return headers
end

local function add_cookie_line(headers, line)
  local given = headers["set-cookie"]
  local lines = type(given) == "string" and { given } or { unpack(given or {}) }
  lines[#lines + 1] = line
  headers["set-cookie"] = lines
end

local function add_cookies(headers, cookies)
  if type(cookies) ~= "table" then
    return "cookies must be a table of names and values, not a " .. type(cookies)
  end
  local names = {}
  for name in pairs(cookies) do
    names[#names + 1] = tostring(name)
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local line, problem = native.cookie(name, cookies[name])
    if not line then
      return problem
    end
    add_cookie_line(headers, line)
  end
end

-- made:set_cookie(name, value, options), with the options of `cookies`
function Response.set_cookie(made, name, value, options)
  if options ~= nil and type(options) ~= "table" then
    error("set_cookie takes a name, a value and a table of options, not a " .. type(options), 2)
  end
  local all = {}
  for key, option in pairs(options or {}) do
    all[key] = option
  end
  all.value = value
  local line, problem = native.cookie(tostring(name), all)
  if problem then
    error(problem, 2)
  end
  add_cookie_line(made.headers, line)
end

-- made:delete_cookie(name, options), with the path and domain that it was set with
function Response.delete_cookie(made, name, options)
  local all = { max_age = 0 }
  for key, option in pairs(type(options) == "table" and options or {}) do
    all[key] = option
  end
  local ok, problem = pcall(Response.set_cookie, made, name, "", all)
  if not ok then
    error(problem, 2)
  end
end

-- A response that can be changed without changing this one.
local function copy(made)
  local new, headers = {}, setmetatable({}, Headers)
  for key, value in next, made do
    new[key] = value
  end
  for name, value in next, made.headers do
    rawset(headers, name, value)
  end
  new.headers = headers
  return setmetatable(new, Response)
end

local function status_problem(status)
  if type(status) ~= "number" or status % 1 ~= 0 or status < 200 or status > 999 then
    return "status must be a whole number from 200 to 999, not " .. tostring(status)
  end
end

local function make(body, status, content_type, headers)
  if content_type and not headers["content-type"] then
    headers["content-type"] = content_type
  end
  return setmetatable({ status = status, headers = headers, body = body }, Response)
end

local function build_any(body, options)
  if options ~= nil and type(options) ~= "table" then
    return nil, "the second argument is a table of options, not a " .. type(options)
  end
  options = options or {}
  local status = options.status or 200
  local problem = status_problem(status)
  if problem then
    return nil, problem
  end
  local headers
  headers, problem = headers_of(options.headers)
  if not problem and options.cookies ~= nil then
    problem = add_cookies(headers, options.cookies)
  end
  if problem then
    return nil, problem
  end
  local kind = type(body)
  if kind == "string" then
    return make(body, status, TEXT, headers)
  elseif kind == "nil" then
    return make("", status, nil, headers)
  elseif kind == "table" then
    body, problem = native.json_encode(body)
    return body and make(body, status, JSON, headers), problem
  end
  return nil, "a body is a string or a table, not a " .. kind
end

local function build(body, options)
  local made, problem = build_any(body, options)
  if made and options and options.compress ~= nil then
    if type(options.compress) ~= "boolean" then
      return nil, "compress is true or false, not a " .. type(options.compress)
    end
    made.compress = options.compress
  end
  return made, problem
end

local function response(body, options)
  local made, problem = build(body, options)
  if problem then
    error("kennel.response: " .. problem, 2)
  end
  return made
end

local function typed(content_type, name)
  return function(body, options)
    if type(body) ~= "string" then
      error("kennel." .. name .. " takes a string, not a " .. type(body), 2)
    end
    local made, problem = build(body, options)
    if problem then
      error("kennel." .. name .. ": " .. problem, 2)
    end
    made.headers["content-type"] = content_type
    return made
  end
end

local function json(value, options)
  local text, problem = native.json_encode(value)
  local made
  if text then
    made, problem = build(text, options)
  end
  if problem then
    error("kennel.json: " .. problem, 2)
  end
  made.headers["content-type"] = JSON
  return made
end

local function in_pieces(name, new)
  return function(fn, options)
    if type(fn) ~= "function" then
      error("kennel." .. name .. " takes a function, not a " .. type(fn), 2)
    end
    local made, problem = build(nil, options)
    if problem then
      error("kennel." .. name .. ": " .. problem, 2)
    end
    made.body = new(fn)
    return made
  end
end

local function redirect(url, status)
  if type(url) ~= "string" then
    error("kennel.redirect takes an address, not a " .. type(url), 2)
  end
  status = status or 303
  if status ~= 301 and status ~= 302 and status ~= 303 and status ~= 307 and status ~= 308 then
    error("kennel.redirect takes status 301, 302, 303, 307 or 308, not " .. tostring(status), 2)
  end
  local problem = native.check_header("location", url)
  if problem then
    error(problem, 2)
  end
  return make("", status, nil, setmetatable({ location = url }, Headers))
end

-- Turns what a handler returned into a response object.
local function to_response(value)
  local kind = type(value)
  if kind == "string" then
    return make(value, 200, TEXT, setmetatable({}, Headers))
  elseif kind == "table" then
    if getmetatable(value) == Response then
      return value
    end
    local text, problem = native.json_encode(value)
    if not text then
      error(problem, 0)
    end
    return make(text, 200, JSON, setmetatable({}, Headers))
  end
  error("a handler returns a string, a table or a response, not a " .. kind, 0)
end

-- A handler's second value, where that is a status: `return { ... }, 404`. Other numbers come by chance, as the count of
-- string.gsub does.
local function with_status(value, status)
  if type(status) ~= "number" or status % 1 ~= 0 or status < 200 or status > 599 or value == nil then
    return value
  end
  local made = copy(to_response(value))
  made.status = status
  return made
end

-- The Accept-Encoding of a request whose answer may be compressed, `""` without one.
local function accepted(made, req, compress)
  if made and made.compress ~= nil then
    compress = made.compress
  end
  return compress and (native.server_field(req, "accept-encoding") or "") or nil
end

-- Sends what a handler returned to `req`; raises an error when it is no answer. `compress`: unless the answer says
-- otherwise, it may be compressed.
local function send(serial, value, req, compress)
  local kind = type(value)
  local problem
  if kind == "string" then
    if #value < THRESHOLD then
      native.answer(serial, PLAIN, value)
    else
      problem = native.respond(serial, 200, TEXT, nil, value, accepted(nil, req, compress))
    end
  elseif kind == "table" and getmetatable(value) ~= Response then
    local text
    text, problem = native.json_encode(value)
    if text then
      if #text < THRESHOLD then
        native.answer(serial, AS_JSON, text)
      else
        problem = native.respond(serial, 200, JSON, nil, text, accepted(nil, req, compress))
      end
    end
  else
    local made = to_response(value)
    local body = made.body
    problem = status_problem(made.status)
    if problem then
      error(problem, 0)
    end
    if type(body) == "string" then
      local accept = #body >= THRESHOLD and accepted(made, req, compress) or nil
      problem = native.respond(serial, made.status, nil, made.headers, body, accept)
    elseif getmetatable(body) == File then
      local may = accepted(made, req, compress) ~= nil
      problem = native.send_file(serial, body.found, made.status, made.headers, may)
    elseif getmetatable(body) == Stream then
      stream.run(serial, made, req.method == "HEAD")
    else
      error("the body of a response must be a string, not a " .. type(body), 0)
    end
  end
  if problem then
    error(problem, 0)
  end
end

return {
  File = File,
  -- Whether a handler returned a file.
  is_file = function(value)
    return type(value) == "table" and getmetatable(value) == Response and getmetatable(value.body) == File
  end,
  build = build,
  in_pieces = in_pieces,
  to_response = to_response,
  with_status = with_status,
  copy = copy,
  add_cookie_line = add_cookie_line,
  send = send,
  make = make,
  no_headers = function()
    return setmetatable({}, Headers)
  end,
  TEXT = TEXT,
  HTML = HTML,
  api = {
    response = response,
    html = typed(HTML, "html"),
    text = typed(TEXT, "text"),
    json = json,
    redirect = redirect,
    no_content = function()
      return make("", 204, nil, setmetatable({}, Headers))
    end,
  },
}
