-- A request's body in pieces: as it arrives, in a route with { body = "stream" }; otherwise as it lies in the
-- message or in its file.

local native, parts = ...
local scheduler, request = parts.scheduler, parts.request

-- What native.read_body finds.
local BYTES, NOT_YET, END, ABORTED = 0, 1, 2, 3
-- How much is read at once when the script wants all.
local PIECE = 65536

-- Jobs whose body somebody waits for.
local waiting = {}

local function next_piece(req, most)
  local job = request.job_of(req)
  local kind, value, serial = native.read_body(job, most)
  while kind == NOT_YET do
    if waiting[serial] then
      error("another task reads this body already", 3)
    end
    waiting[serial] = true
    scheduler.pause("body " .. serial)
    waiting[serial] = nil
    kind, value, serial = native.read_body(job, most)
  end
  if kind == BYTES then
    return value
  elseif kind == END then
    return nil
  elseif kind == ABORTED then
    return nil, "aborted"
  end
  error(value, 3)
end

-- req:read(n): at most n bytes, as soon as there are some; nil at the end. req:read(): all the rest. When the client
-- has left before its end: nil, "aborted".
function request.methods.read(req, most)
  if most ~= nil then
    if type(most) ~= "number" or most < 1 or most % 1 ~= 0 then
      error("req:read takes a number of bytes from 1, or nothing for all the rest", 2)
    end
    local piece, problem = next_piece(req, most)
    return piece, problem
  end
  local pieces, at = {}, 0
  while true do
    local piece, problem = next_piece(req, PIECE)
    if not piece then
      if problem then
        return nil, problem
      end
      return table.concat(pieces)
    end
    at = at + 1
    pieces[at] = piece
  end
end

-- Bytes of the body that have arrived, and that there will be: nil while a client sends chunks.
function request.changing.received(req)
  local received, _, problem = native.body_progress(request.job_of(req))
  return received or error(problem, 3)
end
function request.changing.body_size(req)
  local received, size, problem = native.body_progress(request.job_of(req))
  if not received then
    error(problem, 3)
  end
  return size
end
