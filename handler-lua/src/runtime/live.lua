-- The orders of the hub about connections, and channels as callbacks: messages of a connection run one after the
-- other, and those that come while a callback sleeps wait.

local native, parts = ...
local scheduler, failure = parts.scheduler, parts.failure
local conns, states, straight = parts.conn, parts.states, parts.straight

local caught, done = failure.caught, native.done
local live, by_id = states.live, states.by_id
local forget, hang_up, failed = states.forget, states.hang_up, states.failed
local enqueue, dequeue = states.enqueue, states.dequeue

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

-- A callback has ended in a way that it cannot have noticed, and so has its coroutine.
local function break_off(state, serial)
  hang_up(state, 1011, "internal error")
  done(serial)
  if state.channel.straight then
    straight.finish(state)
  elseif state.over then
    forget(state)
  else
    state.busy = false
    scheduler.start(0, catch_up, state)
  end
end

-- Each order is about a connection by its number, and most have a serial that is to be done.
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
  states.add(state)
  if channel.straight then
    straight.start(state, serial)
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
    return straight.give(state, serial, payload, binary)
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
    straight.close(state, serial)
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
  straight.leave(state)
end

-- A coroutine will never end its job. Whether that was about a connection.
function orders.lost(serial, co)
  local number = native.conn_of(serial)
  local state = co and straight.owner(co) or number and live[number]
  if state then
    break_off(state, serial)
  elseif number then
    done(serial)
  end
  return state ~= nil or number ~= nil
end

-- The same for a connection that the loop gave up on.
function orders.broken(number)
  local state = live[number]
  if state then
    -- The hub was told.
    state[1], state.ended = false, false
    break_off(state, 0)
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
