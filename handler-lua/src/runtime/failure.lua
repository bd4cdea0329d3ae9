-- What becomes of a script's errors.

local native, parts = ...
local request = parts.request

-- An error that was caught in a coroutine, with its traceback there: { problem = what caught gave }.
local Raised = {}

-- An error as { message, traceback }, or a Failure as it is.
local function caught(problem)
  if getmetatable(problem) == Raised then
    return problem.problem
  end
  if type(problem) == "table" and getmetatable(problem) == request.Failure then
    return problem
  end
  local message = type(problem) == "table" and getmetatable(problem) == nil and native.json_encode(problem)
    or tostring(problem)
  return { message = message, traceback = debug.traceback("", 2) }
end

-- Runs fn(...); an error goes to the log and nowhere else.
local function guard(fn, ...)
  local ok, problem = xpcall(fn, caught, ...)
  if not ok then
    native.log("error", "a task failed: " .. problem.message .. native.clean_traceback(problem.traceback or ""))
  end
  return ok
end

return { caught = caught, guard = guard, Raised = Raised }
