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
  local message = problem
  if type(problem) ~= "string" then
    message = type(problem) == "table" and getmetatable(problem) == nil and native.json_encode(problem)
    if not message then
      local ok, text = pcall(tostring, problem)
      message = ok and text or "an error whose __tostring fails"
    end
  end
  return { message = message, traceback = debug.traceback("", 2) }
end

-- What xpcall gives in place of what `caught` makes: memory or stack were used up, so it could not be called.
local own_words = {
  ["not enough memory"] = "not enough memory; limits.worker_memory says how much a worker may use",
  ["error in error handling"] = "stack overflow",
}

-- An error that xpcall gave, as { message, traceback }.
local function whole(problem)
  if type(problem) == "table" then
    return problem
  end
  local text = tostring(problem)
  if text == "not enough memory" then
    -- What filled it is garbage now, and LuaJIT does not look for garbage when an allocation fails.
    collectgarbage()
  end
  return { message = own_words[text] or text, traceback = "" }
end

-- Runs fn(...); an error goes to the log and nowhere else.
local function guard(fn, ...)
  local ok, problem = xpcall(fn, caught, ...)
  if not ok then
    problem = whole(problem)
    native.log("error", "a task failed: " .. problem.message .. native.clean_traceback(problem.traceback or ""))
  end
  return ok
end

return { caught = caught, whole = whole, guard = guard, Raised = Raised }
