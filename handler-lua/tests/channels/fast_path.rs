//! The functions that are written against Lua's own API take anything: a script that gets at them with the debug library
//! may pass what it likes. `make asan` runs this, and all other tests of the crate, with AddressSanitizer.

use crate::hub::Hub;

const MEDDLER: &str = r#"
local function find(value, seen)
  if type(value) ~= "table" and type(value) ~= "function" or seen[value] then return nil end
  seen[value] = true
  if type(value) == "table" then
    if rawget(value, "state_key") and rawget(value, "server_field") then return value end
    for _, item in next, value do
      local found = find(item, seen)
      if found then return found end
    end
    return find(debug.getmetatable(value), seen)
  end
  for at = 1, 60 do
    local name, item = debug.getupvalue(value, at)
    if not name then return nil end
    local found = find(item, seen)
    if found then return found end
  end
end

local names = { "next", "job", "header", "server_field", "answer", "done", "is_text", "publish", "send", "send_binary" }

app:get("/", function(req)
  local native = assert(find(kennel, {}))
  local batch, place = rawget(req, 1), rawget(req, 2)
  local state = { 7 }
  local values = {
    true, 0, -1, 1, 3.5, 1e300, -1e300, 0/0, 2^53, "", "x", "\255", "METHOD", "x-one", "all", ("x"):rep(1e5), {}, { 1, 2 },
    { "x", 3 }, { batch, place }, { batch, place + 1 }, { batch, -1 }, { batch, 1e15 }, { batch, 0/0 }, { batch, "x" },
    { io.stdout, 0 }, { io.stdout, 3 }, { io.stdout, 1e9 }, { newproxy(true), 0 }, req, batch, print, io.stdout,
    coroutine.create(print), { [native.state_key] = state }, { [native.state_key] = 1 }, { [native.state_key] = {} },
    setmetatable({}, { __index = error, __tostring = error }),
  }
  math.randomseed(1)
  local function any()
    return values[math.random(0, #values)]
  end
  for _, name in ipairs(names) do
    local fn = assert(native[name], name)
    for _ = 1, 1500 do
      pcall(fn, unpack({ any(), any(), any(), any(), any(), any() }, 1, math.random(0, 6)))
    end
  end
  return req.method
end)
app:channel("/", { message = function(conn, msg) conn:send(msg) end })
"#;

#[test]
fn functions_of_the_fast_path_take_anything() {
    let mut hub = Hub::new(MEDDLER);
    hub.job();
    let (mut ends, mut messages) = (0, 0);
    hub.open(0, 9, &crate::hub::RESUMED);
    let last = hub.message(9, "alive");
    loop {
        let action = hub.next();
        ends += usize::from(action.starts_with("respond 1 ") || action == "done 1");
        messages += usize::from(action.starts_with("send 7 "));
        if action == format!("done {last}") {
            break;
        }
    }
    assert_eq!(ends, 1, "a job ends once");
    assert!(messages > 0);
}
