-- The connections that this worker has: opened, given their messages one after the other, closed.
--
-- Beside what conn.lua says, a state holds: `channel`; `busy` while a callback of it has not ended, or
-- straight-line code does not wait for a message; `queue` with what came meanwhile; for straight-line code
-- `co`, its coroutine, `serial` of the message that it has, and `over` once it was told of the end.

local native, scheduler, failure, conns = ...

local caught, done, set_current = failure.caught, native.done, scheduler.set_current

local live, by_id = {}, {}
-- The connections of straight-line code by its coroutines.
local owners = {}

local function forget(state)
  if live[state.number] == state then
    live[state.number], by_id[state.id] = nil, nil
  end
end

-- Closes from this side, unless that is done, or the connection has ended or is another worker's.
local function hang_up(state, code, reason)
  state.ended = false
  if state[1] and state.owned then
    native.close_conn(state[1], code, reason)
    state[1] = false
  end
end

local function failed(state, what, problem)
  local message, traceback = tostring(problem), ""
  if type(problem) == "table" then
    -- An error raised by what a callback calls as its last act has no better place than the runtime's.
    message = problem.message:match("^%[kennel%]:%d+: (.*)$") or problem.message
    traceback = native.clean_traceback(problem.traceback or "")
  end
  local text = what .. " of " .. state.channel.title .. " failed: " .. message .. traceback
  native.log("error", text, native.json_encode({ conn = state.id }))
  hang_up(state, 1011, "internal error")
end

-- What came while the connection was busy: { serial, payload, binary } or { serial, closed = true }.
local function enqueue(state, entry)
  local queue = state.queue
  if queue then
    queue.last = queue.last + 1
    queue[queue.last] = entry
  else
    state.queue = { entry, first = 1, last = 1 }
  end
end

-- The next of it that is to be seen by the script: nothing more is, once the connection was closed from here, but
-- its end. The coroutine that runs goes on for that job.
local function dequeue(state)
  local queue = state.queue
  while queue do
    local entry = queue[queue.first]
    queue[queue.first] = nil
    queue.first = queue.first + 1
    if queue.first > queue.last then
      state.queue, queue = nil, nil
    end
    if entry.closed or state[1] or state.ended then
      native.switch(entry[1])
      set_current(entry[1])
      return entry
    end
    done(entry[1])
  end
end

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

-- Straight-line code has ended: nobody reads what is still to come.
local function end_straight(state)
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
  end_straight(state)
end

-- A callback has ended in a way that it cannot have noticed, and so has its coroutine.
local function break_off(state, serial)
  hang_up(state, 1011, "internal error")
  done(serial)
  if state.channel.straight then
    end_straight(state)
  elseif state.over then
    forget(state)
  else
    state.busy = false
    scheduler.start(0, catch_up, state)
  end
end

-- A message is at hand for straight-line code.
local function begin(state, serial, binary)
  state.busy, state.binary, state.serial = true, binary, serial
end

-- The message at hand is done: straight-line code asks for the next.
local function finish(state)
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
  finish(state)
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

-- The orders of the hub. Each is about a connection by its number, and most have a serial that is to be done.
local orders = {}

-- `channel` is what was registered; `values` are the path's values in order.
function orders.open(channel, serial, number, fresh, resumed, id, transport, data, rooms, values, job)
  if not channel then
    return done(serial)
  end
  local state = {
    number,
    number = number,
    owned = true,
    channel = channel,
    id = id,
    transport = transport,
    resumed = resumed,
    data_text = data,
    rooms = {},
    binary = false,
    busy = false,
  }
  for _, room in ipairs(rooms) do
    state.rooms[room] = true
  end
  local params = {}
  for at, name in ipairs(channel.names) do
    params[name] = values[at]
  end
  conns.own(state, job, params)
  live[number], by_id[id] = state, state
  if channel.straight then
    state.busy = true
    scheduler.set_brief(serial)
    scheduler.start(serial, run_straight, state, serial)
  elseif fresh and channel.open then
    state.busy = true
    scheduler.start(serial, run_open, state, serial)
  else
    done(serial)
  end
end

-- Runs in the coroutine that takes jobs.
function orders.message(serial, number, payload, binary)
  local state = live[number]
  if not state or not state[1] or state.finished then
    return done(serial)
  elseif state.busy then
    return enqueue(state, { serial, payload, binary })
  elseif state.channel.straight then
    begin(state, serial, binary)
    state.deadline = nil
    return scheduler.wake_for(state, serial, payload)
  elseif not state.channel.message then
    return done(serial)
  end
  run_message(state, serial, payload, binary)
  if state.queue then
    return catch_up(state)
  end
end

function orders.close(serial, number, code, reason)
  local state = live[number]
  if not state then
    return done(serial)
  end
  -- What came before is for the script still, if it did not close the connection itself.
  state.ended = state[1] ~= false
  state[1] = false
  state.close_code, state.close_reason = code, reason
  if state.finished then
    forget(state)
    done(serial)
  elseif state.busy then
    enqueue(state, { serial, closed = true })
    if state.co then
      scheduler.charge(state.co, serial)
    end
  elseif state.channel.straight then
    state.busy, state.over, state.deadline = true, serial, nil
    scheduler.wake_for(state, serial, nil)
  else
    state.busy = true
    scheduler.start(serial, run_close, state, serial)
  end
end

-- The connection is another worker's. What waits here runs there.
function orders.detach(number)
  local state = live[number]
  if not state then
    return
  end
  forget(state)
  state.owned = false
  local queue = state.queue
  state.queue = nil
  for at = queue and queue.first or 1, queue and queue.last or 0 do
    native.skip(queue[at][1])
  end
  if state.co and not state.serial then
    owners[state.co] = nil
    scheduler.drop(state.co)
    state.co = nil
  end
end

-- A coroutine will never end its job. Whether that was about a connection.
function orders.lost(serial, co)
  local number = native.conn_of(serial)
  local state = co and owners[co] or number and live[number]
  if state then
    break_off(state, serial)
  elseif number then
    done(serial)
  end
  return state ~= nil or number ~= nil
end

-- The same for a connection that the loop gave up on.
function orders.broken(number)
  if live[number] then
    break_off(live[number], 0)
  end
end

-- The handle of a connection that the hub describes as { number, id, transport }.
function orders.handle(found)
  local state = live[found[1]]
  return state and state.handle or conns.remote(found)
end

-- The handle of a connection of this worker, by its id.
function orders.find(id)
  return by_id[id] and by_id[id].handle
end

return orders
