-- Conversations: a handler that asks its visitor something, waits for what he says, and goes on.
--
-- The function runs in a coroutine of its own, which outlives the request that began it. kennel.prompt gives a page
-- away and sleeps until the visitor sends something to it. Each page has its own address,
-- `PATH?talk=WORKER-KEY-STEP`: what is sent there is an answer to that very page, so going back or sending twice does nothing
-- twice, and what comes to another worker is passed to the one that has the coroutine.

local native, parts = ...
local scheduler, traceback, response = parts.scheduler, parts.traceback, parts.response

local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield
local running, status = coroutine.running, coroutine.status

-- How long a visitor may take for one page unless told otherwise, seconds.
local PATIENCE = 900
local COOKIE = "kennel_visitor"
-- What prompt raises in a conversation whose visitor does not come back.
local OVER = setmetatable({}, {
  __tostring = function()
    return "the visitor did not come back"
  end,
})
-- Conversations by their coroutines.
local talks = setmetatable({}, { __mode = "k" })

local GONE = [[<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>This has ended</title>
<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem}</style>
<h1>This has ended</h1>
<p>It took too long, or the server was restarted meanwhile. Nothing that you sent now was used.</p>
<p><a href="%s">Begin again</a></p>
</html>
]]

-- Those that sleep, by their keys, and in the order in which they were last heard of: a ring for those whose visitor has
-- answered a page, and one for those that have only been begun. `shares` has their number for each client address that counts.
local sleeping, count, shares = {}, 0, {}
local answered, begun = {}, {}
answered.before, answered.behind = answered, answered
begun.before, begun.behind = begun, begun

local function unlink(talk)
  if talk.before then
    talk.before.behind, talk.behind.before = talk.behind, talk.before
    talk.before, talk.behind = nil, nil
  end
end

local function touch(talk)
  local ring = talk.is_answered and answered or begun
  unlink(talk)
  talk.before, talk.behind = ring.before, ring
  ring.before.behind, ring.before = talk, talk
end

-- The one that was silent for longest, of all or of one client address; one that a visitor works on only when there are no
-- others, since to begin one costs a stranger nothing.
local function oldest(client)
  for _, ring in ipairs({ begun, answered }) do
    local talk = ring.behind
    while talk ~= ring do
      if not client or talk.client == client then
        return talk
      end
      talk = talk.behind
    end
  end
end

local function stop_clock(talk)
  if talk.timer then
    scheduler.set_alarm(talk.timer, nil)
    talk.timer = nil
  end
end

local function forget(talk)
  stop_clock(talk)
  if sleeping[talk.key] == talk then
    sleeping[talk.key] = nil
    count = count - 1
    unlink(talk)
    if talk.client then
      local left = shares[talk.client] - 1
      shares[talk.client] = left > 0 and left or nil
    end
  end
end

local function escape(text)
  return (text:gsub('[&<>"]', { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end

local function gone_body(path)
  return GONE:format(escape(path))
end

local function gone(path)
  local made = response.make(gone_body(path), 410, response.HTML, response.no_headers())
  made.headers["cache-control"] = "no-store"
  return made
end

local function address(talk, step)
  return talk.path .. "?talk=" .. native.worker .. "-" .. talk.key .. "-" .. step
end

-- To the page at which a conversation is.
local function redirect(talk)
  local made = response.api.redirect(address(talk, talk.step), 303)
  made.headers["cache-control"] = "no-store"
  if talk.cookie then
    made.headers["set-cookie"], talk.cookie = talk.cookie, nil
  end
  return made
end

local go_on

-- The visitor of this page has not come back in time.
local function give_up(talk, step)
  if sleeping[talk.key] ~= talk or talk.step ~= step or talk.busy then
    return
  end
  if talk.hears_timeout then
    scheduler.spawn(function()
      if not talk.busy and talk.step == step then
        go_on(talk, nil, "timeout")
      end
    end)
  else
    forget(talk)
    scheduler.spawn(function()
      go_on(talk, OVER)
    end)
  end
end

local function start_clock(talk)
  local step = talk.step
  local timer = native.alarm(talk.patience)
  if timer > 0 then
    talk.timer = timer
    scheduler.set_alarm(timer, function()
      talk.timer = nil
      give_up(talk, step)
    end)
  end
end

-- Lets the coroutine run to its next page or its end; returns what the visitor gets.
function go_on(talk, ...)
  stop_clock(talk)
  talk.busy = true
  local ok, what = resume(talk.co, ...)
  talk.busy = false
  if not ok then
    forget(talk)
    error(what, 0)
  end
  if status(talk.co) == "dead" then
    forget(talk)
    if what == OVER then
      return nil
    elseif getmetatable(what) == traceback.Raised then
      error(what, 0)
    end
    if what == nil then
      error("the conversation at " .. talk.title .. " returned nothing", 0)
    end
    return what
  end
  talk.page, talk.step = what, talk.step + 1
  if sleeping[talk.key] == talk then
    touch(talk)
    start_clock(talk)
  end
  return redirect(talk)
end

-- What runs in the coroutine: an error keeps its own traceback.
local function body(fn, ...)
  local function raised(problem)
    if problem == OVER then
      return OVER
    end
    return setmetatable({ problem = traceback.caught(problem) }, traceback.Raised)
  end
  local ok, value = xpcall(fn, raised, ...)
  if not ok and type(value) == "string" then
    return setmetatable({ problem = traceback.whole(value) }, traceback.Raised)
  end
  return value
end

local function begin(handler, req, values)
  local visitor = req.cookies[COOKIE]
  local talk = {
    key = native.entropy(),
    path = req.path,
    title = handler[3],
    step = 0,
    visitor = visitor,
    co = create(body),
  }
  talks[talk.co] = talk
  if not visitor or not visitor:match("^%x+$") or #visitor ~= 32 then
    talk.visitor = native.entropy()
    talk.cookie = native.cookie(COOKIE, { value = talk.visitor, secure = req.scheme == "https" })
  end
  local client = native.client_address(req.remote_addr)
  local share = client and shares[client] or 0
  if share > 0 and share >= native.conversations_per_address then
    local victim = oldest(client)
    native.log("warn", "more than limits.conversations_per_address (" .. native.conversations_per_address
      .. ") wait for " .. client .. ": the one at " .. victim.title .. " that was silent for longest has ended")
    forget(victim)
  elseif count > 0 and count >= native.conversations then
    local victim = oldest()
    native.log("warn", "more than limits.conversations (" .. native.conversations .. ") wait: the one at "
      .. victim.title .. " that was silent for longest has ended")
    forget(victim)
  end
  sleeping[talk.key] = talk
  count = count + 1
  talk.client = client
  if client then
    shares[client] = (shares[client] or 0) + 1
  end
  touch(talk)
  return go_on(talk, handler[1], req, unpack(values or {}))
end

local function read(req)
  local talk = req.args.talk
  if talk then
    local worker, key, step = talk:match("^(%d+)%-(%x+)%-(%d+)$")
    if worker and #key == 32 then
      return tonumber(worker), key, tonumber(step)
    end
    return 0, "", 0
  end
end

-- Whether a request answers the page at its address, beside asking for it.
local function says_something(req)
  if req.method ~= "GET" and req.method ~= "HEAD" then
    return true
  end
  for name in req.args:pairs() do
    if name ~= "talk" then
      return true
    end
  end
  return false
end

return {
  -- Gives a job away whose conversation another worker has. Returns whether it did.
  pass = function(serial, req)
    local worker = read(req)
    if not worker or worker == native.worker or worker == 0 then
      return false
    end
    native.pass(serial, worker, 410, response.HTML, gone_body(req.path))
    return true
  end,

  -- Answers a request to a conversation's path.
  answer = function(handler, req, values)
    local worker, key, step = read(req)
    if not worker then
      return begin(handler, req, values)
    end
    local talk = worker == native.worker and sleeping[key]
    if not talk or talk.path ~= req.path or talk.visitor ~= req.cookies[COOKIE] then
      return gone(req.path)
    end
    if talk.busy then
      return response.api.response("409 Conflict: what you sent before is still being worked on.\n", { status = 409 })
    end
    local is_reply = step == talk.step and says_something(req)
    talk.is_answered = talk.is_answered or is_reply
    touch(talk)
    if is_reply then
      return go_on(talk, req)
    elseif step == talk.step then
      return response.copy(talk.page)
    end
    return redirect(talk)
  end,

  -- Gives the visitor a page, and returns the request with which he answers it.
  prompt = function(page, options)
    local talk = talks[running()]
    if not talk then
      error("kennel.prompt works in the function of an app:conversation", 2)
    elseif options ~= nil and type(options) ~= "table" then
      error("kennel.prompt takes a page and a table of options, not a " .. type(options), 2)
    end
    local timeout = options and options.timeout
    if timeout ~= nil and (type(timeout) ~= "number" or not (timeout > 0)) then
      error("kennel.prompt: timeout is a number of seconds above 0", 2)
    end
    if type(page) == "function" then
      page = page(address(talk, talk.step + 1))
    end
    local ok, made = pcall(response.to_response, page)
    if not ok then
      error((tostring(made):gsub("a handler returns", "kennel.prompt takes")), 2)
    end
    talk.patience, talk.hears_timeout = timeout or PATIENCE, timeout ~= nil
    local answer, why = yield(made)
    if answer == OVER then
      error(OVER, 0)
    end
    return answer, why
  end,
}
