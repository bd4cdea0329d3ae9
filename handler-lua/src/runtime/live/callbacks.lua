-- Channels as callbacks: messages of a connection run one after the other, and those that come while a callback sleeps
-- wait.

local native, parts = ...
local scheduler, traceback, states = parts.scheduler, parts.traceback, parts.conn_state

local caught, done = traceback.caught, native.done
local forget, failed, dequeue = states.forget, states.failed, states.dequeue

local function run_close(state, serial)
  local fn = state.channel.close
  state.over = serial
  if fn then
    local ok, problem = xpcall(fn, caught, state.handle, state.close_code, state.close_reason)
    if not ok then
      failed(state, "the close callback", problem)
    end
  end
  forget(state)
  done(serial)
end

local function run_message(state, serial, payload, binary)
  state.busy, state.binary = true, binary
  local ok, problem = xpcall(state.channel.message, caught, state.handle, payload)
  state.busy, state.binary = false, false
  if not ok then
    failed(state, "the message callback", problem)
  end
  done(serial)
end

-- Callbacks: does what came while one of them slept.
local function catch_up(state)
  local entry = dequeue(state)
  while entry do
    if entry.closed then
      state.busy = true
      run_close(state, entry[1])
    elseif state.channel.message then
      run_message(state, unpack(entry, 1, 3))
    else
      done(entry[1])
    end
    entry = dequeue(state)
  end
end

local function run_open(state, serial)
  local ok, problem = xpcall(state.channel.open, caught, state.handle)
  state.busy = false
  if not ok then
    failed(state, "the open callback", problem)
  end
  done(serial)
  catch_up(state)
end

return {
  -- Tells of a connection that is new to all workers.
  open = function(state, serial)
    if not state.channel.open then
      return done(serial)
    end
    state.busy = true
    scheduler.start(serial, run_open, state, serial)
  end,
  -- Runs in the coroutine that takes jobs.
  give = function(state, serial, payload, binary)
    if not state.channel.message then
      return done(serial)
    end
    run_message(state, serial, payload, binary)
    if state.queue then
      return catch_up(state)
    end
  end,
  -- Tells of the end.
  close = function(state, serial)
    state.busy = true
    scheduler.start(serial, run_close, state, serial)
  end,
  -- Goes on with what waits, after a callback that did not come to its end.
  resume = function(state)
    state.busy = false
    scheduler.start(0, catch_up, state)
  end,
}
