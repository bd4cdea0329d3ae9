-- A file of tests: what it registers, and how its tests are run one after the other.

local native, expect, open_site = ...

native.sites = {}
local tests, running = {}, false

local testing = {
  equal = expect.equal,
  not_equal = expect.not_equal,
  contains = expect.contains,
  matches = expect.matches,
  raises = expect.raises,
  site = function(source, options)
    return open_site(source, options)
  end,
}

-- Registers a test.
function testing.test(name, fn)
  if type(name) ~= "string" or type(fn) ~= "function" then
    error("testing.test takes a name and a function", 2)
  elseif running then
    error("testing.test is called while the file is loaded, not inside of a test", 2)
  end
  local info = debug.getinfo(fn, "S")
  tests[#tests + 1] = { name = name, fn = fn, line = info.linedefined }
end

-- Ends the running test as one that cannot be run here.
function testing.skip(reason)
  error(setmetatable({ skip = reason or "" }, native.failure), 0)
end

package.preload["kennel.testing"] = function()
  return testing
end
package.preload.kennel = function()
  error("`kennel` is the app's, which runs beside the tests in a state of its own; site:evaluate(code) runs code in it", 3)
end

-- What is printed is not held back: a test that hangs is ended in the middle.
io.stdout:setvbuf("no")

-- The first place in somebody's own code, from a level on.
local function place(level)
  repeat
    local info = debug.getinfo(level, "Sl")
    if info and info.what ~= "C" and info.short_src ~= native.chunk then
      return info.short_src, info.currentline
    end
    level = level + 1
  until not info
end

-- An error as { message, file, line, traceback }.
local function caught(problem)
  local traceback = debug.traceback("", 2)
  if type(problem) == "table" and getmetatable(problem) == native.failure then
    local file, line = place(3)
    return { message = problem.message, skip = problem.skip, file = file, line = line, traceback = traceback }
  end
  local text = type(problem) == "table" and native.json_encode(problem) or tostring(problem)
  return { message = text, raw = true, traceback = traceback }
end

-- The lines that the apps of the test have logged as errors.
local function errors_of_apps()
  local lines = {}
  for _, site in ipairs(native.sites) do
    for _, line in ipairs(site:log(0)) do
      if line.level == "error" then
        lines[#lines + 1] = line.text
      end
    end
  end
  return lines
end

return {
  -- Runs the file, which registers its tests; it may also return a table of functions by name.
  load = function(chunk)
    local function call()
      local returned = chunk()
      if type(returned) == "table" and returned ~= testing then
        local names = {}
        for name, fn in pairs(returned) do
          if type(name) == "string" and type(fn) == "function" then
            names[#names + 1] = name
          end
        end
        table.sort(names, function(a, b)
          return debug.getinfo(returned[a], "S").linedefined < debug.getinfo(returned[b], "S").linedefined
        end)
        for _, name in ipairs(names) do
          testing.test(name, returned[name])
        end
      end
    end
    local ok, problem = xpcall(call, caught)
    return not ok and problem or nil
  end,
  -- The names of the tests, and the lines where they begin.
  tests = function()
    local names, lines = {}, {}
    for at, test in ipairs(tests) do
      names[at], lines[at] = test.name, test.line
    end
    return names, lines
  end,
  -- Runs the test of this number: nil when it passed, else what was wrong, and the lines of the apps' errors.
  run = function(number)
    running, native.sites = true, {}
    local ok, problem = xpcall(tests[number].fn, caught)
    local errors = not ok and errors_of_apps() or nil
    running, native.sites = false, {}
    collectgarbage()
    if not ok then
      return problem, errors
    end
  end,
}
