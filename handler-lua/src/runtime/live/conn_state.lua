-- The states of the connections that this worker has, and what waits for each of them.
--
-- Beside what conn.lua says, a state holds: `channel`; `busy` while a callback of it has not ended, or
-- straight-line code does not wait for a message; `queue` with what came meanwhile; `ended` once the client has
-- gone while the script still wanted its messages; `over` once the script was told of the end.

local native, parts = ...
local scheduler, traceback = parts.scheduler, parts.traceback

local done, set_current = native.done, scheduler.set_current

local live, by_id = {}, {}

local states = { live = live, by_id = by_id }

function states.add(state)
  live[state.number], by_id[state.id] = state, state
end

function states.forget(state)
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

states.hang_up = hang_up

-- Logs what failed with which error, and closes.
function states.failed(state, what, problem)
  problem = traceback.whole(problem)
  -- An error raised by what a callback calls as its last act has no better place than the runtime's.
  local message = problem.message:match("^%[kennel%]:%d+: (.*)$") or problem.message
  local trace = native.clean_traceback(problem.traceback or "")
  local text = what .. " of " .. state.channel.title .. " failed: " .. message .. trace
  native.log("error", text, native.json_encode({ conn = state.id }))
  hang_up(state, 1011, native.close_reason(message))
end

-- What came while the connection was busy: { serial, payload, binary } or { serial, closed = true }.
function states.enqueue(state, entry)
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
function states.dequeue(state)
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

return states
