-- Coroutines for requests and tasks: pooled, because making one costs more than running a small
-- handler; put to sleep and woken by the worker's loop.
--
-- A task ends by yielding FREE, which puts its coroutine back into the pool; it pauses by yielding
-- PAUSE with the number of the timer that will wake it.

local native = ...

local create, resume, yield, running = coroutine.create, coroutine.resume, coroutine.yield, coroutine.running
local FREE, PAUSE = {}, {}

local scheduler = {
  -- What to do about a job whose coroutine will never answer it.
  lost = function(serial, reason) end,
}

local free, free_count = {}, 0
local sleeping, sleeping_serial = {}, {}
local waiting, waiting_first, waiting_last = {}, 1, 0
-- The serial of the job that is running; 0 for tasks of nobody.
local current = 0

-- Five arguments, not any number: handlers pass here at every request, and varargs cost.
local function body(task, a, b, c, d, e)
  task(a, b, c, d, e)
  return body(yield(FREE))
end

local function settle(co, serial, ok, signal, timer)
  if not ok then
    scheduler.lost(serial, tostring(signal))
  elseif signal == PAUSE then
    sleeping[timer], sleeping_serial[timer] = co, serial
  else
    scheduler.lost(serial, "coroutine.yield was called outside of a coroutine of the script's own")
  end
end

-- Runs task(a, b, c, d, e) for a job, until it ends or pauses.
function scheduler.start(serial, task, a, b, c, d, e)
  local co
  if free_count > 0 then
    co = free[free_count]
    free_count = free_count - 1
  else
    co = create(body)
  end
  local previous = current
  current = serial
  local ok, signal, timer = resume(co, task, a, b, c, d, e)
  current = previous
  if signal == FREE and ok then
    free_count = free_count + 1
    free[free_count] = co
    return
  end
  return settle(co, serial, ok, signal, timer)
end

-- Goes on with what slept on this timer.
function scheduler.wake(timer)
  local co, serial = sleeping[timer], sleeping_serial[timer]
  if co then
    sleeping[timer], sleeping_serial[timer] = nil, nil
    local previous = current
    current = serial
    local ok, signal, next_timer = resume(co)
    current = previous
    if ok and signal == FREE then
      free_count = free_count + 1
      free[free_count] = co
      return
    end
    return settle(co, serial, ok, signal, next_timer)
  end
end

function scheduler.sleep(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    error("kennel.sleep takes a number of seconds, 0 or more", 2)
  end
  local _, is_main = running()
  if is_main then
    error("kennel.sleep works in handlers and tasks, not while the script loads", 2)
  end
  yield(PAUSE, native.timer(seconds, current))
end

-- Runs task(...) soon, in a coroutine of its own.
function scheduler.spawn(task, ...)
  if type(task) ~= "function" then
    error("kennel.spawn takes a function", 2)
  end
  waiting_last = waiting_last + 1
  waiting[waiting_last] = { task, select("#", ...), ... }
  native.has_work()
end

-- Runs what was spawned so far, but not what that spawns.
function scheduler.run_waiting(guard)
  for at = waiting_first, waiting_last do
    local entry = waiting[at]
    waiting[at] = nil
    waiting_first = at + 1
    scheduler.start(0, guard, function()
      return entry[1](unpack(entry, 3, entry[2] + 2))
    end)
  end
end

-- A script's own coroutines may sleep too: their pause is handed up to the scheduler, and they go on
-- where they were.
local function relay(co, ok, signal, ...)
  if ok and signal == PAUSE then
    yield(PAUSE, ...)
    return relay(co, resume(co))
  end
  return ok, signal, ...
end

local function unwrap(ok, ...)
  if ok then
    return ...
  end
  error((...), 0)
end

function coroutine.resume(co, ...)
  return relay(co, resume(co, ...))
end

function coroutine.wrap(fn)
  local co = create(fn)
  return function(...)
    return unwrap(relay(co, resume(co, ...)))
  end
end

return scheduler
