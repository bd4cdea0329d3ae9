-- A board that everybody sees: what a shell says to its address is on every screen.
local kennel = require "kennel"
local app = kennel.app()

local last = "nothing yet"

app:get("/", function() return { last = last } end)

app:channel("/live", {
  open = function(conn)
    conn:join("board")
    conn:send(last)
  end,
  message = function(conn, text)
    last = text
    kennel.room("board"):send(text)
  end,
})

return app
