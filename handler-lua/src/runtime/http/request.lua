-- The request as scripts see it: a table that holds the raw message and asks native code for each
-- field when the script does. What nobody asks for is never decoded.

local native, parts = ...
local form = parts.form

local Failure = {} -- metatable of errors that are an answer: { status, message }

local Request = {}
local fields = {}
local methods = {}
-- Fields that are another value each time.
local changing = {}

-- Where the request and its views keep the job, which holds the raw message: as the batch of jobs that it
-- came with and its place there, or alone, as a string, once somebody needed that.
local JOB, PLACE = 1, 2
-- And its session, once it was asked for.
local SESSION = 3

-- Fields that are not kept once they were read, and those that can be assigned.
local live, setters = {}, {}

local function job_of(view)
  local job = rawget(view, JOB)
  if type(job) ~= "string" then
    job = native.job(view)
    rawset(view, JOB, job)
  end
  return job
end

-- A view of the same job.
local function share(view, metatable)
  return setmetatable({ rawget(view, JOB), rawget(view, PLACE) }, metatable)
end

Request.__index = function(req, key)
  local method = methods[key]
  if method then
    return method
  end
  local change = changing[key]
  if change then
    return change(req)
  end
  local field = fields[key]
  if field then
    local value = field(req)
    rawset(req, key, value)
    return value
  end
  local read = live[key]
  return read and read(req)
end
Request.__newindex = function(req, key, value)
  local set = setters[key]
  if set then
    set(req, value)
  else
    rawset(req, key, value)
  end
end
Request.__tostring = function(req)
  return req.method .. " " .. req.path
end

local function fail(status, message)
  error(setmetatable({ status = status, message = message }, Failure), 0)
end

-- A view of names and values: v["name"] is the first value, v:all("name") all of them, pairs(v) or
-- v:pairs() walks them in order. Its metatable and its methods.
local function view(index, view_methods, all, list)
  view_methods.all = function(self, name)
    return all(job_of(self), name)
  end
  view_methods.pairs = function(self)
    local items, at = list(job_of(self)), -1
    return function()
      at = at + 2
      return items[at], items[at + 1]
    end
  end
  return {
    __index = index,
    __newindex = function()
      error("what the client sent cannot be changed", 2)
    end,
    __pairs = view_methods.pairs,
  }
end

local Headers = view(native.header, native.header_methods, native.header_all, native.headers)

local arg_methods = {}
local Args = view(function(self, name)
  local method = arg_methods[name]
  if method then
    return method
  end
  if type(name) == "string" then
    return native.arg(job_of(self), name)
  end
end, arg_methods, native.arg_all, native.args)

function fields.headers(req)
  return share(req, Headers)
end
function fields.args(req)
  return share(req, Args)
end
function fields.method(req)
  return native.server_field(req, "METHOD")
end
function fields.path(req)
  return native.path(job_of(req))
end
function fields.query(req)
  return native.server_field(req, "QUERY") or ""
end
function fields.version(req)
  return native.server_field(req, "VERSION")
end
function fields.scheme(req)
  return native.server_field(req, "URL_SCHEME") or "http"
end
function fields.remote_addr(req)
  return native.server_field(req, "REMOTE_ADDR")
end
function fields.host(req)
  return req.headers.host or ""
end
function fields.url(req)
  return req.scheme .. "://" .. req.host .. (native.server_field(req, "URI") or req.path)
end
function fields.cookies(req)
  return native.cookies(job_of(req))
end
function fields.body(req)
  local body, problem = native.body(job_of(req))
  return body or error(problem, 3)
end
function fields.text(req)
  local text, problem = native.text(job_of(req), req.body)
  return text or fail(400, problem)
end
function fields.form(req)
  return form.of(req, job_of, fail).fields
end
function fields.files(req)
  return form.of(req, job_of, fail).files
end
function fields.params()
  return {}
end
function fields.conn(req)
  return setmetatable({ id = native.conn(job_of(req)), transport = "http", request = req }, {
    __index = function(_, key)
      if key == "send" or key == "join" or key == "leave" or key == "close" then
        error("conn:" .. key .. " is for channels; an HTTP request is answered by what its handler returns", 2)
      end
    end,
  })
end
function fields.mongrel2(req)
  return native.message(job_of(req))
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
  SESSION = SESSION,
  methods = methods,
  changing = changing,
  job_of = job_of,
  fail = fail,
  fields = fields,
  live = live,
  setters = setters,
  new = function(batch, place)
    return setmetatable({ batch, place }, Request)
  end,
}
