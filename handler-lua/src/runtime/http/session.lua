-- req.session and req.csrf_token, the check of forms, and how both get into the answer; kennel.sign and kennel.unsign.
--
-- A request that nobody asks for its session has none: rawget(req, SESSION) is nil, and no cookie was looked at.

local native, parts = ...
local request, response = parts.request, parts.response

local SESSION = request.SESSION

local function decode(json)
  local ok, value = native.json_decode(json)
  return ok and type(value) == "table" and value or {}
end

-- The session of a request: { visit, came = JSON, value = table }.
local function opened(req)
  local state = rawget(req, SESSION)
  if not state then
    local visit, json = native.visit(request.job_of(req))
    state = { visit, came = json, value = decode(json) }
    rawset(req, SESSION, state)
  end
  return state
end

function request.live.session(req)
  return opened(req).value
end

function request.setters.session(req, value)
  if value ~= nil and type(value) ~= "table" then
    error("req.session takes a table, or nil to end it, not a " .. type(value), 3)
  end
  local state = opened(req)
  if state.sealed then
    error("the answer has begun, so the session cannot be changed any more", 3)
  end
  native.visit_forget(state[1])
  state.value = value or {}
end

function request.fields.csrf_token(req)
  local state = opened(req)
  if state.sealed then
    error("the answer has begun, so its session cannot get a token any more", 3)
  end
  local token, problem = native.csrf_token(state[1])
  return token or error(problem, 3)
end

-- The values as JSON, and whether they are those that came. An error names the handler, see app.lua.
local function written(state)
  local json, problem = native.json_encode(state.value)
  if not json then
    error("the session cannot be kept: " .. problem)
  end
  if json == state.came then
    return json, true
  end
  -- Another language may have written the same in other letters.
  return json, native.json_encode(decode(state.came)) == json
end

-- The first value of a header that may be a list.
local function one(value)
  return type(value) == "table" and value[1] or value
end

-- What the handler of a request with a session returned, as a response that has the session's cookie if there has
-- to be one. It is a copy: a script may return one response to many.
local function seal(req, value)
  local state = rawget(req, SESSION)
  local json, same = written(state)
  local line, problem = native.visit_close(state[1], json, same, req.scheme == "https")
  if problem then
    error(problem)
  end
  state.sealed, state.kept = true, json
  local made = response.copy(response.to_response(value))
  local headers = made.headers
  local control, vary = native.privacy(one(headers["cache-control"]), one(headers["vary"]), line ~= nil)
  if control then
    headers["cache-control"] = control
  end
  if vary then
    headers["vary"] = vary
  end
  if line then
    response.add_cookie_line(headers, line)
  end
  return made
end

-- Behind an answer that took its time: what was changed meanwhile is lost, and the log says so.
local function look_back(req)
  local state = rawget(req, SESSION)
  if native.json_encode(state.value) ~= state.kept then
    native.log("warn", "the session was changed after the answer had begun, and that is lost")
  end
end

-- Refuses what may come from a form of another site.
local function check_form(req)
  if not native.csrf_applies(request.job_of(req)) then
    return
  end
  local visit = opened(req)[1]
  local token = req.headers[native.csrf_header] or req.form[native.csrf_field]
  if type(token) ~= "string" or not native.visit_allows(visit, token) then
    request.fail(403, native.csrf_refusal)
  end
end

return {
  SESSION = SESSION,
  seal = seal,
  look_back = look_back,
  check_form = check_form,
  set_options = function(options)
    if type(options) ~= "table" then
      return "`session` takes a table of options, not a " .. type(options)
    end
    return native.session_options(options)
  end,
  api = {
    sign = function(value)
      local json, problem = native.json_encode(value)
      local text
      if json then
        text, problem = native.sign(json)
      end
      return text or error("kennel.sign: " .. problem, 2)
    end,
    unsign = function(text, max_age)
      if max_age ~= nil and (type(max_age) ~= "number" or not (max_age >= 0)) then
        error("kennel.unsign takes a text and the seconds that it may be old", 2)
      end
      if type(text) ~= "string" then
        return nil, "not signed here"
      end
      local json, problem = native.unsign(text, max_age)
      if not json then
        return nil, problem
      end
      local ok, value = native.json_decode(json)
      return ok and value or nil
    end,
  },
}
