-- kennel.render(template, values, options): a page from a template beside the app.

local native, parts = ...
local response = parts.response

local function render(template, values, options)
  if type(template) ~= "string" then
    error("kennel.render takes the name of a template, not a " .. type(template), 2)
  end
  if values ~= nil and type(values) ~= "table" then
    error("kennel.render takes a table of values, not a " .. type(values), 2)
  end
  -- Without a body it has no content type but one that the script gives.
  local made, problem = response.build(nil, options)
  if problem then
    error("kennel.render: " .. problem, 2)
  end
  local request = options and options.request
  if request ~= nil and type(request) ~= "table" then
    error("kennel.render takes the request as the option `request`, not a " .. type(request), 2)
  end
  local body, kind, has_place = native.render(template, values or {}, request)
  if not body then
    -- The template's own place says more than the script's line, which the traceback has.
    error(has_place and kind or "kennel.render: " .. kind, has_place and 0 or 2)
  end
  made.body = body
  if not made.headers["content-type"] then
    made.headers["content-type"] = kind
  end
  return made
end

return { api = { render = render } }
