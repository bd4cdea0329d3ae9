-- What tests say about values: each raises at the test's line what it found instead.

local native = ...

local MAX_DIFFERENCES = 10

-- A value as a person would write it.
local function shown(value, depth)
  if type(value) == "string" then
    if #value > 400 then
      return ("%q"):format(value:sub(1, 400)):gsub("\\\n", "\\n") .. "... (" .. #value .. " bytes)"
    end
    return (("%q"):format(value):gsub("\\\n", "\\n"))
  elseif value == native.null then
    return "null"
  elseif type(value) ~= "table" then
    return tostring(value)
  elseif (depth or 0) >= 3 then
    return "{...}"
  end
  local parts, seen = {}, {}
  for at, item in ipairs(value) do
    seen[at] = true
    parts[#parts + 1] = shown(item, (depth or 0) + 1)
  end
  local keys = {}
  for key in pairs(value) do
    if not seen[key] then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for _, key in ipairs(keys) do
    local name = type(key) == "string" and key:match("^[%a_][%w_]*$") or "[" .. shown(key, 3) .. "]"
    parts[#parts + 1] = name .. " = " .. shown(value[key], (depth or 0) + 1)
  end
  return "{" .. (parts[1] and " " .. table.concat(parts, ", ") .. " " or "") .. "}"
end

local function is_same(a, b, seen)
  if a == b or (a ~= a and b ~= b) then
    return true
  end
  if type(a) ~= "table" or type(b) ~= "table" then
    return false
  end
  if seen[a] == b then
    return true
  end
  seen[a] = b
  for key, value in pairs(a) do
    if not is_same(value, b[key], seen) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end

-- Collects where two tables differ, one line each.
local function differences(got, expected, path, lines)
  if #lines >= MAX_DIFFERENCES then
    return
  end
  if type(got) ~= "table" or type(expected) ~= "table" then
    if not is_same(got, expected, {}) then
      lines[#lines + 1] = ("at %s: expected %s, got %s"):format(path, shown(expected), shown(got))
    end
    return
  end
  local keys, known = {}, {}
  for _, side in ipairs({ expected, got }) do
    for key in pairs(side) do
      if not known[key] then
        known[key] = true
        keys[#keys + 1] = key
      end
    end
  end
  table.sort(keys, function(a, b)
    if type(a) == "number" and type(b) == "number" then
      return a < b
    end
    return tostring(a) < tostring(b)
  end)
  for _, key in ipairs(keys) do
    local step = type(key) == "string" and key:match("^[%a_][%w_]*$") and "." .. key or "[" .. shown(key, 3) .. "]"
    if not is_same(got[key], expected[key], {}) then
      differences(got[key], expected[key], path .. step, lines)
    end
  end
end

local expect = { shown = shown }

local function fail(text, note)
  error(setmetatable({ message = note and note .. ": " .. text or text }, native.failure), 0)
end

-- Two values are equal; tables by what is in them.
function expect.equal(got, expected, note)
  if is_same(got, expected, {}) then
    return got
  end
  if type(got) == "table" and type(expected) == "table" then
    local lines = {}
    differences(got, expected, "", lines)
    for at, line in ipairs(lines) do
      lines[at] = "\n  " .. line:gsub("^at %.", "at ")
    end
    fail("the tables differ" .. table.concat(lines), note)
  end
  fail("not equal\n  expected: " .. shown(expected) .. "\n  got:      " .. shown(got), note)
end

function expect.not_equal(got, other, note)
  if is_same(got, other, {}) then
    fail("both are " .. shown(got), note)
  end
  return got
end

-- A text has another one in it, or a list has a value.
function expect.contains(whole, part, note)
  if type(whole) == "string" and type(part) == "string" then
    if whole:find(part, 1, true) then
      return whole
    end
    fail("no " .. shown(part) .. " in it\n  got: " .. shown(whole), note)
  elseif type(whole) == "table" then
    for _, item in pairs(whole) do
      if is_same(item, part, {}) then
        return whole
      end
    end
    fail("no " .. shown(part) .. " in it\n  got: " .. shown(whole), note)
  end
  error("testing.contains takes two strings, or a table and a value; got " .. type(whole) .. " and " .. type(part), 2)
end

-- A text fits a pattern of Lua's; gives what it captures.
function expect.matches(text, pattern, note)
  if type(text) ~= "string" or type(pattern) ~= "string" then
    error("testing.matches takes a string and a pattern; got " .. type(text) .. " and " .. type(pattern), 2)
  end
  if not text:find(pattern) then
    fail("it does not fit the pattern " .. shown(pattern) .. "\n  got: " .. shown(text), note)
  end
  return text:match(pattern)
end

-- A function raises an error, whose text has `part` in it; gives the text.
function expect.raises(part, fn)
  if type(part) == "function" then
    part, fn = nil, part
  end
  local ok, problem = pcall(fn)
  if ok then
    fail("it raised no error")
  end
  local text = type(problem) == "table" and problem.message or tostring(problem)
  if part and not text:find(part, 1, true) then
    fail("the error has no " .. shown(part) .. " in it\n  got: " .. shown(text))
  end
  return text
end

return expect
