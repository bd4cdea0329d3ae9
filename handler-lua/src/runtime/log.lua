-- kennel.log and print: lines for the log.

local native = ...

local log = {}

for _, level in ipairs({ "debug", "info", "warn", "error" }) do
  log[level] = function(text, fields)
    if fields ~= nil and type(fields) ~= "table" then
      error("kennel.log." .. level .. " takes a text and a table of fields", 2)
    end
    local encoded, problem
    if fields then
      encoded, problem = native.json_encode(fields)
      if not encoded then
        error(problem, 2)
      end
    end
    native.log(level, tostring(text), encoded)
  end
end

function print(...)
  local parts = {}
  for at = 1, select("#", ...) do
    parts[at] = tostring((select(at, ...)))
  end
  native.log("info", table.concat(parts, "\t"))
end

return log
