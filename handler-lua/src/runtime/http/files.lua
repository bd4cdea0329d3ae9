-- kennel.file(path, options): a file as an answer. It is opened when its handler has returned, so that the request's
-- conditions are at hand.

local native, parts = ...
local request, response = parts.request, parts.response

local File = response.File

local function check_text(options, name)
  local value = options[name]
  if value ~= nil and type(value) ~= "string" then
    error("kennel.file: " .. name .. " is a string, not a " .. type(value), 4)
  end
  return value
end

local file = {}

function file.file(path, options)
  if type(path) ~= "string" then
    error("kennel.file takes a path, not a " .. type(path), 2)
  end
  if options ~= nil and type(options) ~= "table" then
    error("kennel.file: the second argument is a table of options, not a " .. type(options), 2)
  end
  options = options or {}
  local function check()
    local max_age = options.max_age
    if max_age ~= nil and (type(max_age) ~= "number" or max_age < 0 or max_age % 1 ~= 0 or max_age > 2 ^ 31) then
      error("kennel.file: max_age is a whole number of seconds, not " .. tostring(max_age), 3)
    end
    return check_text(options, "root"), check_text(options, "type"), check_text(options, "filename")
  end
  local root, content_type, filename = check()
  local made, problem = response.build(nil, options)
  if problem then
    error("kennel.file: " .. problem, 2)
  end
  local headers = made.headers
  if content_type then
    problem = native.check_header("content-type", content_type)
    if problem then
      error("kennel.file: " .. problem, 2)
    end
    headers["content-type"] = content_type
  end
  if filename then
    headers["content-disposition"] = native.attachment(filename)
  end
  if options.max_age then
    headers["cache-control"] = "max-age=" .. string.format("%d", options.max_age)
  end
  made.body = setmetatable({ path = path, root = root, conditional = made.status == 200 }, File)
  return made
end

-- Opens the file of a response, and makes of it what the request is to get.
function file.settle(req, made)
  local body = made.body
  if body.found then
    return made
  end
  local headers = made.headers
  local content_type = headers["content-type"]
  local found, status, head =
    native.find_file(request.job_of(req), body.path, body.root, content_type, body.conditional)
  if not found then
    if status then
      error(status, 0)
    end
    error(setmetatable({ status = 404, message = "Not Found: there is nothing at this address.", missing = true },
      request.Failure), 0)
  end
  body.found = found
  -- What the file cannot say of itself the script may.
  headers["content-type"] = nil
  if status ~= 200 and status ~= 206 then
    headers["content-disposition"] = nil
  end
  if status >= 400 then
    -- How long the file stays fresh is not how long its absence does.
    headers["cache-control"], headers.expires = nil, nil
  end
  if body.conditional then
    made.status = status
  end
  for at = 1, #head, 2 do
    local name, value = head[at], head[at + 1]
    local own = headers[name]
    if name == "Vary" and own then
      headers.vary = type(own) == "table" and { value, unpack(own) } or { value, own }
    elseif not own then
      headers[name] = value
    end
  end
  if headers["content-type"] and not headers["x-content-type-options"] then
    headers["x-content-type-options"] = "nosniff"
  end
  return made
end

return file
