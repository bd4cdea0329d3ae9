-- The module `kennel`, and the handles by which the worker's loop drives it.

local native, parts = ...
local scheduler, traceback, response = parts.scheduler, parts.traceback, parts.response
local apps, orders, rooms = parts.app, parts.orders, parts.room
local stream, files, events = parts.stream, parts.files, parts.events
local conversation, sessions, pages = parts.conversation, parts.session, parts.render
local take_job = apps.take_job

local kennel = {
  null = native.null,
  json_encode = function(value)
    local text, problem = native.json_encode(value)
    return text or error(problem, 2)
  end,
  json_decode = function(text)
    if type(text) ~= "string" then
      error("kennel.json_decode takes a string, not a " .. type(text), 2)
    end
    local ok, value = native.json_decode(text)
    if ok then
      return value
    end
    error("not JSON: " .. value, 2)
  end,
  array = function(list)
    if list ~= nil and type(list) ~= "table" then
      error("kennel.array takes a table, not a " .. type(list), 2)
    end
    return setmetatable(list or {}, native.array)
  end,
  sleep = scheduler.sleep,
  spawn = scheduler.spawn,
  prompt = conversation.prompt,
  config = native.config,
  worker = native.worker,
  room = rooms.room,
  connection = rooms.connection,
  file = files.file,
  stream = response.in_pieces("stream", stream.new),
  log = parts.log,
}

do
  local make = response.in_pieces("events", events.new)
  function kennel.events(fn, options)
    local made = make(fn, options)
    local headers = made.headers
    headers["content-type"] = "text/event-stream"
    headers["cache-control"] = headers["cache-control"] or "no-cache"
    return made
  end
end

for name, fn in pairs(response.api) do
  kennel[name] = fn
end

for _, part in ipairs({ sessions, pages }) do
  for name, fn in pairs(part.api) do
    kennel[name] = fn
  end
end

function kennel.deliver(sender, ids, bytes)
  if type(bytes) ~= "string" then
    error("kennel.deliver takes a sender, a list of conn ids and a string", 2)
  end
  local problem = native.deliver(sender, ids, bytes)
  if problem then
    error(problem, 2)
  end
end

function kennel.disconnect(sender, ids)
  local problem = native.deliver(sender, ids, nil)
  if problem then
    error(problem, 2)
  end
end

local the_app
function kennel.app(options)
  if the_app then
    error("this script has an app already; kennel.app() is called once", 2)
  end
  the_app = apps.new(options, 2)
  return the_app
end

local names = {}
for name in pairs(kennel) do
  names[#names + 1] = name
end
table.sort(names)
setmetatable(kennel, {
  -- Scripts may ask whether there is something, so only what looks like a slip is an error.
  __index = function(_, name)
    local near = type(name) == "string" and native.nearest(name, names)
    if near then
      error("kennel has no `" .. name .. "`; did you mean `kennel." .. near .. "`?", 2)
    end
  end,
})

scheduler.lost = apps.lost
package.loaded.kennel = kennel

local function take()
  return take_job(the_app)
end

return {
  -- Checks what the script returned; gives the registration.
  load = function(chunk)
    local app = chunk()
    if getmetatable(app) ~= apps.App then
      local hint = the_app and "; end it with `return app`"
        or '; it begins with `local app = require("kennel").app()` and ends with `return app`'
      error("the script must return its app" .. hint, 0)
    end
    the_app = app
    apps.number_all(app)
    return {
      routes = app.routes,
      channels = app.channels,
      hooks = app.before_hooks[1] ~= nil or app.after_hooks[1] ~= nil,
      not_found = app.not_found_page and true,
      raw = app.raw_handler and true,
    }
  end,
  start = function()
    apps.run_tasks(the_app.start_tasks)
  end,
  stopping = scheduler.stop,
  work = scheduler.work,
  stop = function()
    apps.run_tasks(the_app.stop_tasks)
  end,
  lead = function()
    apps.lead(the_app)
  end,
  run_jobs = function()
    return scheduler.run_jobs(take)
  end,
  wake = scheduler.wake,
  run_waiting = function()
    scheduler.run_waiting(traceback.guard)
  end,
  open = function(handler, ...)
    return orders.open(the_app.channels[handler + 1], ...)
  end,
  close = orders.close,
  detach = orders.detach,
  broken = orders.broken,
  taken = stream.taken,
  gone = stream.gone,
  -- Runs code that an operator typed, in a task of its own, and tells what it gave.
  evaluate = function(query, code)
    scheduler.spawn(function()
      local scope = setmetatable({ kennel = kennel, app = the_app }, { __index = _G, __newindex = _G })
      local chunk, problem = load("return " .. code, "=console", "t", scope)
      if not chunk then
        chunk, problem = load(code, "=console", "t", scope)
      end
      if not chunk then
        native.evaluated(query, false, problem)
        return
      end
      local results = { n = 0 }
      local function keep(ok, ...)
        results = { n = select("#", ...), ... }
        return ok
      end
      local ok = keep(pcall(chunk))
      for at = 1, results.n do
        local value = results[at]
        results[at] = type(value) == "table" and native.json_encode(value) or tostring(value)
      end
      native.evaluated(query, ok, table.concat(results, "\t"))
    end)
  end,
}
