-- The orders of the hub about connections, for channels of both kinds: what is for a script goes to callbacks.lua or
-- linear.lua, or waits.

local native, parts = ...
local scheduler, conns, states = parts.scheduler, parts.conn, parts.conn_state
local callbacks, linear = parts.callbacks, parts.linear

local done = native.done
local live, by_id = states.live, states.by_id
local forget, hang_up, enqueue = states.forget, states.hang_up, states.enqueue
local give_to_callback, give_to_linear = callbacks.give, linear.give

-- A callback has ended in a way that it cannot have noticed, and so has its coroutine.
local function break_off(state, serial)
  hang_up(state, 1011, "internal error")
  done(serial)
  if state.channel.straight then
    linear.finish(state)
  elseif state.over then
    forget(state)
  else
    callbacks.resume(state)
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
    linear.start(state, serial)
  elseif fresh then
    callbacks.open(state, serial)
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
    return give_to_linear(state, serial, payload, binary)
  end
  return give_to_callback(state, serial, payload, binary)
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
    linear.close(state, serial)
  else
    callbacks.close(state, serial)
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
  linear.leave(state)
end

-- A coroutine will never end its job. Whether that was about a connection.
function orders.lost(serial, co)
  local number = native.conn_of(serial)
  local state = co and linear.owner(co) or number and live[number]
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
