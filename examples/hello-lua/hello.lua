local kennel = require "kennel"
local app = kennel.app()

app:get("/", function(req)
  return kennel.html("<h1>Hello from Lua</h1>")
end)

app:get("/hello/{name}", function(req, name)
  return { hello = name, agent = req.headers["user-agent"] }
end)

return app
