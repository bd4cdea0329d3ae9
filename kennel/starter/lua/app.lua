local kennel = require "kennel"
local app = kennel.app()

local PAGE = [[
<!doctype html>
<html lang="en">
  <meta charset="utf-8">
  <title>NAME</title>
  <link rel="stylesheet" href="/style.css">
  <h1>NAME</h1>
  <p>Open this page in a second window, and say something.</p>
  <ul id="said"></ul>
  <form id="say"><input name="text" autocomplete="off" autofocus></form>
  <script src="/chat.js"></script>
</html>
]]

app:get("/", function(req)
  return kennel.html(PAGE)
end)

-- A table is answered as JSON.
app:get("/hello/{name}", function(req, name)
  return { text = kennel.config.greeting .. ", " .. name .. "!" }
end)

-- What one says, everybody in the room hears.
app:channel("/chat", {
  open = function(conn)
    conn:join("everybody")
  end,
  message = function(conn, text)
    kennel.room("everybody"):send(text)
  end,
})

return app
