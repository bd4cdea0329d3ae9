-- req.form and req.files: the body as a form, read when the first of them is asked for.

local native = ...

local READ_ONLY = "what the client sent cannot be changed"

-- A view of names and values: v.name is the first of a name, v:all(name) all of them, pairs(v) or v:pairs() walks them in
-- order. `items` is a list of names and values by turns.
local function view(items)
  local methods, first = {}, {}
  for at = 1, #items, 2 do
    local name = items[at]
    if first[name] == nil then
      first[name] = items[at + 1]
    end
  end
  function methods.all(_, name)
    local found = {}
    for at = 1, #items, 2 do
      if items[at] == name then
        found[#found + 1] = items[at + 1]
      end
    end
    return found
  end
  function methods.pairs()
    local at = -1
    return function()
      at = at + 2
      return items[at], items[at + 1]
    end
  end
  return setmetatable({}, {
    __index = function(_, name)
      return methods[name] or first[name]
    end,
    __newindex = function()
      error(READ_ONLY, 2)
    end,
    __pairs = methods.pairs,
  })
end

-- A file of a form: a place in the body of its job. Its content stays where it is until the script wants it elsewhere.
local JOB, FROM, TO = 1, 2, 3
local methods = {}
local File = {}

File.__index = function(file, key)
  local method = methods[key]
  if method then
    return method
  end
  if key == "path" then
    local path, problem = native.form_path(rawget(file, JOB), rawget(file, FROM), rawget(file, TO))
    if not path then
      error(problem, 2)
    end
    rawset(file, "path", path)
    return path
  end
end
File.__tostring = function(file)
  return "file " .. file.filename .. " (" .. file.size .. " bytes)"
end

local function check(file, name)
  if type(file) ~= "table" or getmetatable(file) ~= File then
    error("a file's methods are called with a colon, file:" .. name .. "()", 3)
  end
end

function methods.read(file)
  check(file, "read")
  local bytes, problem = native.form_read(rawget(file, JOB), rawget(file, FROM), rawget(file, TO))
  return bytes or error(problem, 2)
end

function methods.save(file, path)
  check(file, "save")
  if type(path) ~= "string" then
    error("file:save takes a path, not a " .. type(path), 2)
  end
  local problem = native.form_save(rawget(file, JOB), rawget(file, FROM), rawget(file, TO), path)
  if problem then
    error(problem, 2)
  end
  return true
end

local function file(job, sent)
  sent[JOB] = job
  return setmetatable(sent, File)
end

-- Where a request keeps what was read.
local FORM = {}

return {
  of = function(req, job_of, fail)
    local form = rawget(req, FORM)
    if form then
      return form
    end
    local job = job_of(req)
    local fields, files, status = native.form(job)
    if not fields then
      -- The problem is in place of the files; without a status it is not the client's fault.
      if status then
        fail(status, files)
      end
      error(files, 4)
    end
    for at = 2, #files, 2 do
      files[at] = file(job, files[at])
    end
    form = { fields = view(fields), files = view(files) }
    rawset(req, FORM, form)
    return form
  end,
}
