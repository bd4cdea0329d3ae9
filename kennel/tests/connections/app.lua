local kennel = require("kennel")
local app = kennel.app()
local log = kennel.room("log")

-- Does what a message says, in its words.
local function act(conn, msg)
  log:send("heard " .. msg)
  if msg:find("slow") then
    kennel.sleep(0.05)
  end
  if msg:find("fail") then
    error("on purpose")
  elseif msg:find("close") then
    conn:close(1000, "bye")
  else
    conn:send(msg)
  end
end

app:channel("/callbacks", {
  open = function(conn)
    conn:send("opened")
  end,
  message = act,
  close = function(conn, code, reason)
    log:send("closed " .. code .. " " .. reason)
  end,
})

app:channel("/failing", {
  open = function()
    error("on purpose")
  end,
  close = function()
    error("on purpose")
  end,
})

app:channel("/linear", function(conn)
  conn:send(conn.resumed and "resumed" or "opened")
  for msg in conn:messages() do
    act(conn, msg)
    if msg:find("return") then
      return
    end
  end
  log:send("closed " .. conn.close_code .. " " .. conn.close_reason)
end)

app:channel("/ticking", function(conn)
  while conn:send("tick") do
    kennel.sleep(0.05)
  end
  log:send("closed " .. conn.close_code .. " " .. conn.close_reason)
end)

app:channel("/patient", function(conn)
  local msg, why = conn:receive(0.05)
  conn:send(msg or why or "end")
  conn:send(conn:receive(60) or "end")
  log:send(conn:receive() or "end")
end)

return app
