-- Coroutines for requests and tasks: pooled, because making one costs more than running a small
-- handler; put to sleep and woken by the worker's loop.
--
-- A task ends by yielding FREE, which puts its coroutine back into the pool; it pauses by yielding
-- PAUSE with the key by which it will be woken: a timer's number, a query's number below zero, or the
-- state of a connection that it reads from.

local native = ...

local create, resume, yield, running = coroutine.create, coroutine.resume, coroutine.yield, coroutine.running
local getinfo = debug.getinfo
local FREE, PAUSE = {}, {}

local scheduler = {
  -- What to do about a job whose coroutine will never answer it.
  lost = function(serial, reason, co) end,
}

local free, free_count = {}, 0
-- Coroutines by the key that wakes them, the serials on whose account they sleep, and the keys again.
local sleeping, sleeping_serial, key_of = {}, {}, {}
-- What is to be called when a timer is due on which no coroutine sleeps.
local alarms = {}
-- Serials that are done as soon as their coroutine pauses.
local brief = {}
local waiting, waiting_first, waiting_last = {}, 1, 0
-- The serial of the job that is running; 0 for tasks of nobody.
local current = 0
-- The pooled coroutine that is running; nil while the script loads.
local acting
-- An alarm is called: what it spawns belongs to what has set it, and not to the script's loading.
local rings = false
-- Coroutines of services: what was spawned while the script loaded, or by a start hook or a service. They run for as
-- long as the worker serves, like timers, and a stop does not wait for them.
local services = setmetatable({}, { __mode = "k" })
-- What a stop waits for beside requests: tasks that requests have spawned, runs of timers, raw messages. Its keys are
-- tables of their own, its values say what it is.
local work = {}
local stopping = false

local function body(task, ...)
  task(...)
  return body(yield(FREE))
end

local function settle(co, serial, ok, signal, key)
  if not ok then
    scheduler.lost(serial, tostring(signal), co)
  elseif signal == PAUSE then
    -- Without a key nobody is to wake it.
    if key ~= nil then
      sleeping[key], sleeping_serial[key], key_of[co] = co, serial, key
    end
  else
    scheduler.lost(serial, "coroutine.yield was called outside of a coroutine of the script's own", co)
  end
end

local function take_coroutine()
  if free_count == 0 then
    return create(body)
  end
  free_count = free_count - 1
  return free[free_count + 1]
end

local function give_back(co)
  free_count = free_count + 1
  free[free_count] = co
end

local function go(co, serial, ...)
  local previous, actor = current, acting
  current, acting = serial, co
  local ok, signal, key = resume(co, ...)
  -- It may have gone on to another job meanwhile.
  serial, current, acting = current, previous, actor
  if ok and signal == FREE then
    return give_back(co)
  end
  return settle(co, serial, ok, signal, key)
end

-- Runs task(...) for a job, until it ends or pauses.
function scheduler.start(serial, task, ...)
  return go(take_coroutine(), serial, task, ...)
end

-- Takes jobs, all in one coroutine as long as none of them pauses: to change coroutines at every job would
-- cost more than small handlers do. `take` runs the next job and returns whether there was one. A coroutine
-- that had to pause in a job takes no more when it goes on, for another took its place.
local taker

local function take_jobs(take)
  local me = running()
  repeat
    current = 0
  until taker ~= me or not take()
end

function scheduler.run_jobs(take)
  repeat
    local co = take_coroutine()
    taker, acting = co, co
    local ok, signal, key = resume(co, take_jobs, take)
    local serial = current
    current, taker, acting = 0, nil, nil
    if ok and signal == FREE then
      return give_back(co)
    elseif serial == 0 then
      error(signal, 0)
    end
    settle(co, serial, ok, signal, key)
  until false
end

-- Says for which job the running coroutine runs from here on.
function scheduler.set_current(serial)
  current = serial
end

local function take_sleeper(key)
  local co, serial = sleeping[key], sleeping_serial[key]
  if co then
    sleeping[key], sleeping_serial[key], key_of[co] = nil, nil, nil
  end
  return co, serial
end

-- Goes on with what sleeps on this key, whose pause returns the rest.
function scheduler.wake(key, ...)
  local co, serial = take_sleeper(key)
  if co then
    return go(co, serial, ...)
  end
  local alarm = alarms[key]
  if alarm then
    alarms[key] = nil
    rings = true
    local ok, problem = pcall(alarm)
    rings = false
    if not ok then
      error(problem, 0)
    end
  end
end

-- The same for another job than the one that paused it.
function scheduler.wake_for(key, serial, ...)
  local co = take_sleeper(key)
  if co then
    return go(co, serial, ...)
  end
end

-- Calls fn when a timer is due.
function scheduler.set_alarm(timer, fn)
  alarms[timer] = fn
end

-- Forgets a coroutine that sleeps, and what sleeps on a key: they never go on.
function scheduler.drop(co)
  local key = key_of[co]
  if key then
    take_sleeper(key)
  end
end
scheduler.drop_key = take_sleeper

-- From now on a coroutine that sleeps on nobody's account sleeps on that of a job.
function scheduler.charge(co, serial)
  local key = key_of[co]
  if type(key) == "number" and sleeping_serial[key] == 0 then
    sleeping_serial[key] = serial
    native.charge(key, serial)
  end
end

-- The job is done as soon as its coroutine pauses, and does not wait for its end.
function scheduler.set_brief(serial)
  brief[serial] = true
end

-- Ends a job that is done at its first pause; to be called before a pause. Returns the serial on whose account
-- the running coroutine goes on.
function scheduler.account()
  if brief[current] then
    brief[current] = nil
    native.done(current)
    current = 0
  end
  return current
end

-- Pauses the running coroutine until somebody wakes this key.
function scheduler.pause(key)
  return yield(PAUSE, key)
end

-- Whether the script is still being loaded, so that nothing can pause.
function scheduler.is_loading()
  local _, is_main = running()
  return is_main
end

function scheduler.sleep(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    error("kennel.sleep takes a number of seconds, 0 or more", 2)
  end
  local _, is_main = running()
  if is_main then
    error("kennel.sleep works in handlers and tasks, not while the script loads", 2)
  end
  yield(PAUSE, native.timer(seconds, scheduler.account()))
end

-- Where a function of a script is, for names.
local function place_of(task)
  local info = getinfo(task, "S")
  return info.short_src .. ":" .. info.linedefined
end

-- Runs task(...), which a stop waits for and calls by this name when it has to cut it off.
function scheduler.hold(name, task, ...)
  local held = {}
  work[held] = name
  task(...)
  work[held] = nil
end

-- Runs task(...) as a service.
function scheduler.serve(task, ...)
  local me = running()
  services[me] = true
  task(...)
  services[me] = nil
end

scheduler.place_of = place_of

-- From now on no timer begins to run.
function scheduler.stop()
  stopping = true
end

function scheduler.is_stopping()
  return stopping
end

-- What a stop waits for: nil when that is nothing, else a list of names.
function scheduler.work()
  if next(work) == nil then
    return nil
  end
  local names = {}
  for _, name in pairs(work) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- Runs task(...) soon, in a coroutine of its own.
function scheduler.spawn(task, ...)
  if type(task) ~= "function" then
    error("kennel.spawn takes a function", 2)
  end
  local entry = { task, select("#", ...), ... }
  if (acting == nil and not rings) or services[acting] then
    entry.serves = true
  else
    work[entry] = "the task spawned with the function at " .. place_of(task)
  end
  waiting_last = waiting_last + 1
  waiting[waiting_last] = entry
  native.has_work()
end

-- Runs what was spawned so far, but not what that spawns.
function scheduler.run_waiting(guard)
  for at = waiting_first, waiting_last do
    local entry = waiting[at]
    waiting[at] = nil
    waiting_first = at + 1
    local function run()
      return entry[1](unpack(entry, 3, entry[2] + 2))
    end
    if entry.serves then
      scheduler.start(0, scheduler.serve, guard, run)
    else
      scheduler.start(0, function()
        guard(run)
        work[entry] = nil
      end)
    end
  end
end

-- A script's own coroutines may sleep too: their pause is handed up to the scheduler, and they go on
-- where they were.
local function relay(co, ok, signal, ...)
  if ok and signal == PAUSE then
    return relay(co, resume(co, yield(PAUSE, ...)))
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
