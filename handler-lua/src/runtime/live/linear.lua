-- Linear channels, as straight-line code: a coroutine for each connection, which asks for messages.
--
-- A state then holds also: `co`, the coroutine; `serial` of the message that it has; `finished` once the code has
-- ended; and for a wait that ends some time, its `deadline`, with the `timer` that looks after it and is `due`.

local native, parts = ...
local scheduler, traceback, conns, states = parts.scheduler, parts.traceback, parts.conn, parts.conn_state

local caught, done, set_current = traceback.caught, native.done, scheduler.set_current
local forget, hang_up, failed, dequeue = states.forget, states.hang_up, states.failed, states.dequeue

-- The connections by their coroutines.
local owners = {}

-- Straight-line code has ended: nobody reads what is still to come.
local function finish(state)
  if state.co then
    owners[state.co] = nil
  end
  state.co, state.busy, state.finished, state.deadline = nil, false, true, nil
  if state.serial then
    done(state.serial)
    state.serial = nil
  end
  local entry = dequeue(state)
  while entry do
    state.over = entry.closed and entry[1] or state.over
    if not entry.closed then
      done(entry[1])
    end
    entry = dequeue(state)
  end
  if state.over then
    forget(state)
    done(state.over)
  end
  -- A task that it left behind may wait for a message still.
  scheduler.wake_for(state, 0, nil)
end

local function run_straight(state, serial)
  state.co = coroutine.running()
  owners[state.co] = state
  local ok, problem = xpcall(state.channel.run, caught, state.handle)
  if ok then
    hang_up(state, 1000, "")
  else
    failed(state, "the code", problem)
  end
  scheduler.account()
  finish(state)
end

-- A message is at hand for straight-line code.
local function begin(state, serial, binary)
  state.busy, state.binary, state.serial = true, binary, serial
end

-- The message at hand is done: straight-line code asks for the next.
local function end_message(state)
  local serial = state.serial
  if serial then
    state.serial, state.binary = nil, false
    done(serial)
    if scheduler.account() == serial then
      set_current(0)
    end
  end
end

-- Wakes the code that waits for a message when its deadline has come. One timer serves the waits of a connection
-- one after the other: most of them end with a message, and the timer finds a later deadline.
local function set_timer(state)
  local now, due = native.now(), state.deadline
  local timer = native.alarm(math.max(0, due - now))
  state.timer, state.due = timer, due
  scheduler.set_alarm(timer, function()
    if state.timer ~= timer then
      return
    end
    state.timer = nil
    if state.deadline and state.deadline > native.now() then
      set_timer(state)
    elseif state.deadline then
      state.deadline, state.busy = nil, true
      scheduler.wake_for(state, 0, nil, "timeout")
    end
  end)
end

local function receive(state, timeout)
  end_message(state)
  if state.over or state.finished then
    return nil
  end
  local entry = dequeue(state)
  if entry and entry.closed then
    state.over = entry[1]
    return nil
  elseif entry then
    begin(state, entry[1], entry[3])
    return entry[2]
  end
  scheduler.account()
  if not state.owned then
    -- It goes on in another worker.
    owners[state.co or false] = nil
    return scheduler.pause(nil)
  end
  if timeout then
    state.deadline = native.now() + timeout
    if not state.timer or state.due > state.deadline then
      set_timer(state)
    end
  end
  state.busy = false
  return scheduler.pause(state)
end

-- The state of a connection whose messages the calling code may take.
local function readable(conn, name)
  local state = conns.state_of(conn, name)
  if not (state.channel and state.channel.straight) then
    error("conn:" .. name .. " is for channels with straight-line code; here messages come to `message`", 3)
  elseif not state.busy and not state.finished then
    error("conn:" .. name .. ": something else waits for this connection's messages already", 3)
  end
  return state
end

function conns.methods.receive(conn, timeout)
  local state = readable(conn, "receive")
  if timeout ~= nil and (type(timeout) ~= "number" or not (timeout >= 0)) then
    error("conn:receive takes a number of seconds, 0 or more", 2)
  end
  return receive(state, timeout)
end

function conns.methods.messages(conn)
  local state = readable(conn, "messages")
  return function()
    readable(conn, "messages")
    return receive(state)
  end
end

-- The connection is another worker's: code that is not at a message is forgotten, other code at its next wait.
local function leave(state)
  scheduler.drop_key(state)
  if state.co and not state.serial then
    owners[state.co] = nil
    scheduler.drop(state.co)
    state.co = nil
  end
end

return {
  -- Starts the code; the opening is done when it first pauses.
  start = function(state, serial)
    state.busy = true
    scheduler.set_brief(serial)
    scheduler.start(serial, run_straight, state, serial)
  end,
  -- Gives a message to code that waits for one.
  give = function(state, serial, payload, binary)
    begin(state, serial, binary)
    state.deadline = nil
    return scheduler.wake_for(state, serial, payload)
  end,
  -- Tells code that waits of the end.
  close = function(state, serial)
    state.busy, state.over, state.deadline = true, serial, nil
    scheduler.wake_for(state, serial, nil)
  end,
  leave = leave,
  finish = finish,
  -- The connection whose code runs in a coroutine.
  owner = function(co)
    return owners[co]
  end,
}
