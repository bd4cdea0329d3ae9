-- kennel.stream(fn): answers in pieces, not faster than the client reads.
--
-- The function runs in the coroutine of its request. `send` pauses it while as much is under way as may be, and raises
-- an error once the client has left, so that a function which never looks ends too.

local native, parts = ...
local scheduler = parts.scheduler

local begin_stream, native_piece, end_stream = native.begin_stream, native.piece, native.end_stream
local WINDOW = native.stream_window
local TEXT = "text/plain; charset=utf-8"
local GONE = "the client has left"

-- The body of a response in pieces: the function; `encode` makes a piece of what is sent, or returns nil and what is
-- wrong with it; `begun(serial, state)` is called at once, with the answer begun.
local Stream = {}

-- Answers that have begun, by the serials of their jobs: `under_way` bytes, `waits` while the function does, `gone` once
-- the client has left, `over` at the end.
local begun = {}

local stream = { Stream = Stream }

function stream.new(fn, encode, on_begin)
  return setmetatable({ fn = fn, encode = encode, on_begin = on_begin }, Stream)
end

local function begin(serial, made)
  if not made.headers["content-type"] then
    made.headers["content-type"] = TEXT
  end
  local problem = begin_stream(serial, made.status, made.headers)
  if problem then
    error(problem, 0)
  end
  local state = { under_way = 0 }
  begun[serial] = state
  return state
end

local function as_text(piece)
  if type(piece) == "string" then
    return piece
  elseif type(piece) == "number" then
    return tostring(piece)
  end
  return nil, "a piece of a body is a string, not a " .. type(piece)
end

-- Sends bytes beside what the function sends, if there is room.
function stream.slip_in(serial, state, bytes)
  if state.under_way < WINDOW then
    native_piece(serial, bytes)
    state.under_way = state.under_way + #bytes
  end
end

-- Runs the function of a response, which sends the body. What it raises is the caller's to see to: see `cut`.
function stream.run(serial, made, is_head)
  local body, state, returned = made.body, nil, false
  local encode = body.encode or as_text
  local function finish()
    begun[serial], state.over = nil, true
    end_stream(serial, true)
  end
  if body.on_begin then
    state = begin(serial, made)
    if is_head then
      return finish()
    end
    body.on_begin(serial, state)
  end
  body.fn(function(piece)
    if returned then
      error("this answer is complete: `send` works until the function returns", 2)
    end
    local bytes, problem = encode(piece)
    if not bytes then
      error(problem, 2)
    end
    state = state or begin(serial, made)
    if state.gone then
      error(GONE, 2)
    end
    native_piece(serial, bytes)
    state.sent = true
    state.under_way = state.under_way + #bytes
    while state.under_way >= WINDOW and not state.gone do
      state.waits = true
      scheduler.pause(state)
      state.waits = false
    end
    if state.gone then
      error(GONE, 2)
    end
  end)
  returned = true
  state = state or begin(serial, made)
  finish()
end

-- Whether the client of an answer that has begun is still there; nil: none has begun.
function stream.is_there(serial)
  local state = begun[serial]
  if state then
    return not state.gone
  end
end

-- Ends an answer that has begun and cannot go on, so that the client sees that it is not whole. `false`: none has begun.
function stream.cut(serial)
  local state = begun[serial]
  if not state then
    return false
  end
  begun[serial], state.over = nil, true
  end_stream(serial, false)
  return true
end

-- The hub has passed on so many bytes.
function stream.taken(serial, bytes)
  local state = begun[serial]
  if state then
    state.under_way = math.max(0, state.under_way - bytes)
    if state.waits and state.under_way < WINDOW then
      scheduler.wake(state)
    end
  end
end

-- The client has left.
function stream.gone(serial)
  local state = begun[serial]
  if state then
    state.gone = true
    if state.waits then
      scheduler.wake(state)
    end
  end
end

return stream
