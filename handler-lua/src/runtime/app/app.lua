-- kennel.app(): what a script registers, and how a job finds it.

local native, parts = ...
local scheduler, request, response = parts.scheduler, parts.request, parts.response
local traceback, channel, orders = parts.traceback, parts.channel, parts.orders
local stream, file, conversation, sessions = parts.stream, parts.files, parts.conversation, parts.session

local NOT_FOUND, NOT_ALLOWED, OPTIONS, RAW, MESSAGE = -1, -2, -3, -4, -5

local next_job, set_current = native.next, scheduler.set_current
local caught, whole, guard, take_message = traceback.caught, traceback.whole, traceback.guard, orders.message

local rawget, SESSION = rawget, sessions.SESSION

local App = {}
-- What an app has, for the hint at a misspelt name.
local methods_of_app

-- A script may keep fields of its own in its app, so only what looks like a slip is an error.
function App.__index(_, name)
  local found = App[name]
  if found == nil and type(name) == "string" then
    local near = native.nearest(name, methods_of_app)
    if near then
      error("an app has no `" .. name .. "`; did you mean `" .. near .. "`?", 2)
    end
  end
  return found
end

-- `app.get(...)` hands over the path as the app.
local function check_app(app, method, level)
  if getmetatable(app) ~= App then
    error("call it with a colon: app:" .. method .. "(...), not app." .. method .. "(...)", level + 1)
  end
end

local function check_function(app, fn, method, level)
  check_app(app, method, level + 1)
  if type(fn) ~= "function" then
    error("app:" .. method .. " takes a function, not a " .. type(fn), level + 1)
  end
end

local app_options = { "compress", "csrf", "session" }

-- `options`: { compress = false, csrf = true, session = { name =, max_age =, domain =, same_site =, secure = } }
local function new_app(options, level)
  if options ~= nil and type(options) ~= "table" then
    error("kennel.app takes a table of options, not a " .. type(options), level + 1)
  end
  options = options or {}
  for name, value in pairs(options) do
    if name ~= "compress" and name ~= "csrf" and name ~= "session" then
      local near = native.nearest(tostring(name), app_options)
      local hint = near and "; did you mean `" .. near .. "`?" or ""
      error("kennel.app has no option `" .. tostring(name) .. "`" .. hint, level + 1)
    elseif name ~= "session" and type(value) ~= "boolean" then
      error("the option `" .. name .. "` of kennel.app is true or false, not a " .. type(value), level + 1)
    end
  end
  local problem = options.session ~= nil and sessions.set_options(options.session)
  if problem then
    error(problem, level + 1)
  end
  local app = {
    compress = options.compress ~= false,
    checks_forms = options.csrf or false,
    handlers = {}, -- by number: { fn, names of its values, "GET /path", and what its options say }
    routes = {},
    channels = {},
    before_hooks = {},
    after_hooks = {},
    timers = {},
    start_tasks = {},
    stop_tasks = {},
    not_found_page = false,
    error_page = false,
    raw_handler = false,
    converses = false,
  }
  return setmetatable(app, App)
end

-- A route's options, where it has some, and its function.
local function options_of(path, options, fn, level)
  if fn == nil then
    return {}, options
  end
  local title = "route `" .. tostring(path) .. "`"
  if type(options) ~= "table" then
    error(title .. " takes a table of options before its function, not a " .. type(options), level + 1)
  end
  for name, value in pairs(options) do
    if name == "body" then
      if value ~= "whole" and value ~= "stream" then
        error("the option `body` of " .. title .. ' is "whole" or "stream", not ' .. tostring(value), level + 1)
      end
    elseif name ~= "compress" and name ~= "csrf" then
      error("a route has no option `" .. tostring(name) .. "`; there are `body`, `compress` and `csrf`", level + 1)
    elseif type(value) ~= "boolean" then
      error("the option `" .. name .. "` of " .. title .. " is true or false", level + 1)
    end
  end
  return options, fn
end

local function add_route(app, methods, path, options, fn, level, method)
  check_app(app, method, level)
  if type(path) ~= "string" then
    error("a route's path must be a string, not a " .. type(path), level)
  end
  options, fn = options_of(path, options, fn, level)
  if type(fn) ~= "function" then
    error("route `" .. path .. "` takes a function, not a " .. type(fn), level)
  end
  local number = #app.handlers
  local info = debug.getinfo(level, "Sl")
  local place = info.short_src .. ":" .. info.currentline
  local names, problem = native.add_route(methods, path, number, place)
  if problem then
    error(problem, level)
  end
  local takes, has = debug.getinfo(fn, "u"), names and #names or 0
  if takes.nparams > 1 + has and not takes.isvararg then
    local text = "%s: the handler of `%s` takes %d values of the path, which has %d"
    native.log("warn", text:format(place, path, takes.nparams - 1, has))
  end
  app.handlers[number + 1] = {
    fn,
    names,
    table.concat(methods, ",") .. " " .. path .. " (" .. place .. ")",
    compress = options.compress,
    checks_forms = options.csrf ~= false,
  }
  app.routes[#app.routes + 1] = {
    methods = methods,
    path = path,
    handler = number,
    place = place,
    streams = options.body == "stream",
  }
end

-- `level` counts from add_route to the script, past the method that the script called: that method
-- must not call it as its last act, which would leave no trace of it on the stack.

for _, method in ipairs({ "get", "post", "put", "patch", "delete", "options" }) do
  App[method] = function(app, path, options, fn)
    add_route(app, { method:upper() }, path, options, fn, 3, method)
    return app
  end
end

function App.route(app, methods, path, options, fn)
  check_app(app, "route", 2)
  if type(methods) == "string" then
    methods = { methods }
  end
  if type(methods) ~= "table" or #methods == 0 then
    error("app:route takes a method or a list of methods first", 2)
  end
  local upper = {}
  for at, method in ipairs(methods) do
    if type(method) ~= "string" or not method:match("^%w+$") then
      error("`" .. tostring(method) .. "` is no HTTP method", 2)
    end
    upper[at] = method:upper()
  end
  add_route(app, upper, path, options, fn, 3, "route")
  return app
end

-- app:channel(path, handlers) or app:channel(path, options, handlers)
function App.channel(app, path, options, handlers)
  check_app(app, "channel", 2)
  channel.add(app.channels, path, options, handlers, 3)
  return app
end

-- app:conversation(path, fn) or app:conversation(path, options, fn): GET begins it, and what kennel.prompt waits for comes
-- to the same path.
function App.conversation(app, path, options, fn)
  add_route(app, { "GET", "POST" }, path, options, fn, 3, "conversation")
  app.handlers[#app.handlers].converses = true
  app.converses = true
  return app
end

function App.before(app, fn)
  check_function(app, fn, "before", 2)
  table.insert(app.before_hooks, fn)
end
function App.after(app, fn)
  check_function(app, fn, "after", 2)
  table.insert(app.after_hooks, fn)
end
function App.not_found(app, fn)
  check_function(app, fn, "not_found", 2)
  app.not_found_page = fn
end
function App.error(app, fn)
  check_function(app, fn, "error", 2)
  app.error_page = fn
end
function App.raw(app, fn)
  check_function(app, fn, "raw", 2)
  app.raw_handler = fn
end
function App.start(app, fn)
  check_function(app, fn, "start", 2)
  table.insert(app.start_tasks, fn)
end
function App.stop(app, fn)
  check_function(app, fn, "stop", 2)
  table.insert(app.stop_tasks, fn)
end
function App.every(app, seconds, fn)
  check_app(app, "every", 2)
  if type(seconds) ~= "number" or not (seconds > 0) then
    error("app:every takes a number of seconds above 0", 2)
  end
  check_function(app, fn, "every", 2)
  table.insert(app.timers, { seconds, fn })
end

methods_of_app = {}
for name in pairs(App) do
  if not name:match("^__") then
    methods_of_app[#methods_of_app + 1] = name
  end
end
table.sort(methods_of_app)

-- The text of the pages that the hub would give, were there no hooks.
local pages = {
  [NOT_FOUND] = { 404, "404 Not Found: there is nothing at this address.\n" },
  [NOT_ALLOWED] = { 405, "405 Method Not Allowed: this address does not take that method; see the Allow header.\n" },
  [OPTIONS] = { 204, "" },
}

local function page(number, allow)
  local status, text = pages[number][1], pages[number][2]
  local made = response.make(text, status, text ~= "" and response.TEXT or nil, response.no_headers())
  if allow then
    made.headers["allow"] = allow
  end
  return made
end

-- `values` are the path's values in order, or nil when there are none.
local function run_handler(app, req, number, values)
  if number >= 0 then
    local handler = app.handlers[number + 1]
    local value
    if values then
      local params, names = {}, handler[2]
      for at = 1, #names do
        params[names[at]] = values[at]
      end
      rawset(req, "params", params)
    end
    if handler.converses then
      value = conversation.answer(handler, req, values)
    else
      local status
      if values then
        value, status = handler[1](req, unpack(values))
      else
        value, status = handler[1](req)
      end
      if status ~= nil then
        value = response.with_status(value, status)
      end
    end
    if value == nil then
      error("the handler of " .. handler[3] .. " returned nothing", 0)
    end
    return value
  elseif number == NOT_FOUND and app.not_found_page then
    local value = app.not_found_page(req)
    if value == nil then
      error("the function given to app:not_found returned nothing", 0)
    end
    if type(value) == "string" then
      return response.make(value, 404, response.TEXT, response.no_headers())
    end
    return value
  end
  return page(number, values and values[1])
end

-- A file is opened before anybody sees the answer.
local function settled(req, value)
  return response.is_file(value) and file.settle(req, value) or value
end

-- Whether answers of a handler may be compressed, unless they say otherwise.
local function may_compress(app, number)
  local handler = app.handlers[number + 1]
  if handler and handler.compress ~= nil then
    return handler.compress
  end
  return app.compress
end

local function run_after(app, req, value)
  local made = response.to_response(value)
  for _, hook in ipairs(app.after_hooks) do
    local changed = hook(req, made)
    if changed ~= nil then
      made = settled(req, response.to_response(changed))
    end
  end
  return made
end

local function answer(app, serial, req, number, values)
  local handler = app.handlers[number + 1]
  if app.converses and handler and handler.converses and conversation.pass(serial, req) then
    return
  end
  if app.checks_forms and handler and handler.checks_forms then
    sessions.check_form(req)
  end
  local value
  local hooks = app.before_hooks
  for at = 1, #hooks do
    value = hooks[at](req)
    if value ~= nil then
      break
    end
  end
  if value == nil then
    value = run_handler(app, req, number, values)
  end
  value = settled(req, value)
  if app.after_hooks[1] then
    value = run_after(app, req, value)
  end
  local may_be_compressed = may_compress(app, number)
  if rawget(req, SESSION) then
    value = sessions.seal(req, value)
    response.send(serial, value, req, may_be_compressed)
    if type(value.body) ~= "string" then
      sessions.look_back(req)
    end
    return
  end
  response.send(serial, value, req, may_be_compressed)
end

local function answer_failure(app, serial, req, number, problem)
  local value
  if problem.missing and app.not_found_page then
    value = run_handler(app, req, NOT_FOUND)
  elseif problem.status then
    local text = problem.status .. " " .. problem.message .. "\n"
    value = response.make(text, problem.status, response.TEXT, response.no_headers())
  elseif app.error_page then
    value = app.error_page(req, problem.message, problem.traceback)
    if value == nil then
      error("the function given to app:error returned nothing", 0)
    end
    if type(value) == "string" then
      value = response.make(value, 500, response.TEXT, response.no_headers())
    end
  else
    local body, content_type = native.error_page(request.job_of(req), problem.message, problem.traceback)
    value = response.make(body, 500, content_type, response.no_headers())
  end
  value = settled(req, value)
  if app.after_hooks[1] then
    value = run_after(app, req, value)
  end
  response.send(serial, value, req, may_compress(app, number))
end

-- An error raised by what a handler calls as its last act has lost the handler's line: the place where the
-- handler was registered is the nearest that is known.
local function place(app, number, problem)
  local text = problem.message and problem.message:match("^%[kennel%]:%d+: (.*)$")
  if text then
    local handler = app.handlers[number + 1]
    problem.message = handler and ("in the handler of " .. handler[3] .. ": " .. text) or text
  end
  return problem
end

local function log_failure(req, problem)
  if not problem.status then
    native.log_failure(request.job_of(req), problem.message, problem.traceback or "")
  end
end

-- The task of an HTTP job.
local function serve(app, serial, number, batch, at, values)
  local req = request.new(batch, at)
  local ok, problem = xpcall(answer, caught, app, serial, req, number, values)
  if ok then
    return
  end
  local first = place(app, number, whole(problem))
  local was_there = stream.is_there(serial)
  if was_there ~= false then
    log_failure(req, first)
  end
  if was_there ~= nil then
    return stream.cut(serial)
  end
  ok, problem = xpcall(answer_failure, caught, app, serial, req, number, first)
  if not ok then
    problem = whole(problem)
    stream.cut(serial)
    -- The error page or an after hook failed too; perhaps just as before.
    if problem.message ~= first.message then
      log_failure(req, place(app, number, problem))
    end
    native.respond(serial, 500, response.TEXT, nil, "500 Internal Server Error\n")
  end
end

-- The task of a raw job.
local function serve_raw(app, serial, _, batch, at)
  scheduler.hold("the raw handler", guard, app.raw_handler, native.message(native.job({ batch, at })))
  native.done(serial)
end

local function keep_time(seconds, fn)
  local name = "the timer with the function at " .. scheduler.place_of(fn)
  local due = native.now() + seconds
  while true do
    scheduler.sleep(math.max(0, due - native.now()))
    if scheduler.is_stopping() then
      return
    end
    scheduler.hold(name, guard, fn)
    -- A run that took too long skips the ones it missed.
    due = math.max(due + seconds, native.now())
  end
end

-- Numbers routes and channels by what they are, not by when they came: a script may register them in a loop over
-- a table, whose order is another one in each worker, and a number must mean the same in all of them.
local function number_all(app)
  local handlers = {}
  for _, route in ipairs(app.routes) do
    route.key = route.path .. " " .. table.concat(route.methods, ",")
  end
  table.sort(app.routes, function(a, b)
    return a.key < b.key
  end)
  for at, route in ipairs(app.routes) do
    handlers[at] = app.handlers[route.handler + 1]
    route.handler = at - 1
  end
  app.handlers = handlers
  channel.number(app.channels)
end

return {
  App = App,
  number_all = number_all,
  new = new_app,
  -- Runs the next job or message, if there is one, in the coroutine that takes jobs.
  take_job = function(app)
    local serial, number, batch, at, values = next_job()
    if not serial then
      return false
    end
    set_current(serial)
    if number == MESSAGE then
      -- The connection's number, the payload, and whether it is binary.
      take_message(serial, batch, at, values)
    elseif number == RAW then
      serve_raw(app, serial, number, batch, at)
    else
      serve(app, serial, number, batch, at, values)
    end
    return true
  end,
  lead = function(app)
    for _, timer in ipairs(app.timers) do
      scheduler.start(0, keep_time, timer[1], timer[2])
    end
  end,
  run_tasks = function(tasks)
    for _, task in ipairs(tasks) do
      scheduler.start(0, scheduler.serve, guard, task)
    end
  end,
  lost = function(serial, reason, co)
    native.log("error", "a handler will not answer: " .. reason)
    if orders.lost(serial, co) or stream.cut(serial) then
      return
    end
    native.respond(serial, 500, response.TEXT, nil, "500 Internal Server Error\n")
  end,
}
