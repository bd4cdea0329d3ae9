-- The request as scripts see it: a table that holds the raw message and asks native code for each
-- field when the script does. What nobody asks for is never decoded.

local native = ...

local Failure = {} -- metatable of errors that are an answer: { status, message }

local Request = {}
local fields = {}
local methods = {}

local RAW, CONN = 1, 2

Request.__index = function(req, key)
  local method = methods[key]
  if method then
    return method
  end
  local field = fields[key]
  if field then
    local value = field(req)
    rawset(req, key, value)
    return value
  end
end
Request.__tostring = function(req)
  return req.method .. " " .. req.path
end

local function fail(status, message)
  error(setmetatable({ status = status, message = message }, Failure), 0)
end

-- A view of names and values: v["name"] is the first value, v:all("name") all of them, pairs(v) or
-- v:pairs() walks them in order.
local function view(first, all, list)
  local view_methods = {
    all = function(self, name)
      return all(rawget(self, RAW), name)
    end,
    pairs = function(self)
      local items, at = list(rawget(self, RAW)), -1
      return function()
        at = at + 2
        return items[at], items[at + 1]
      end
    end,
  }
  return {
    __index = function(self, name)
      local method = view_methods[name]
      if method then
        return method
      end
      if type(name) == "string" then
        return first(rawget(self, RAW), name)
      end
    end,
    __newindex = function()
      error("what the client sent cannot be changed", 2)
    end,
    __pairs = view_methods.pairs,
  }
end

local Headers = view(native.header, native.header_all, native.headers)
local Args = view(native.arg, native.arg_all, native.args)

function fields.headers(req)
  return setmetatable({ req[RAW] }, Headers)
end
function fields.args(req)
  return setmetatable({ req[RAW] }, Args)
end
function fields.method(req)
  return native.server_field(req[RAW], "METHOD")
end
function fields.path(req)
  return native.path(req[RAW])
end
function fields.query(req)
  return native.server_field(req[RAW], "QUERY") or ""
end
function fields.version(req)
  return native.server_field(req[RAW], "VERSION")
end
function fields.scheme(req)
  return native.server_field(req[RAW], "URL_SCHEME") or "http"
end
function fields.remote_addr(req)
  return native.server_field(req[RAW], "REMOTE_ADDR")
end
function fields.host(req)
  return native.header(req[RAW], "host") or ""
end
function fields.url(req)
  return req.scheme .. "://" .. req.host .. (native.server_field(req[RAW], "URI") or req.path)
end
function fields.cookies(req)
  return native.cookies(req[RAW])
end
function fields.body(req)
  return native.body(req[RAW])
end
function fields.text(req)
  local text, problem = native.text(req[RAW])
  return text or fail(400, problem)
end
function fields.params()
  return {}
end
function fields.conn(req)
  return setmetatable({ id = req[CONN], transport = "http", request = req }, {
    __index = function(_, key)
      if key == "send" or key == "join" or key == "leave" or key == "close" then
        error("conn:" .. key .. " is for channels; an HTTP request is answered by what its handler returns", 2)
      end
    end,
  })
end
function fields.mongrel2(req)
  return native.message(req[RAW])
end

function methods.json(req)
  local ok, value = native.json_decode(req.body)
  if ok then
    return value
  end
  return fail(400, "the body is not JSON: " .. value)
end

return {
  Failure = Failure,
  new = function(raw, conn)
    return setmetatable({ raw, conn }, Request)
  end,
}
